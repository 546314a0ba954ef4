//! Proof that the libtorch that was linked is the one this crate was written for, and that it computes.

#[cfg(test)]
mod tests {
    use tch::{Kind, Tensor};

    #[test]
    fn libtorch_computes_and_differentiates() {
        let x = Tensor::from_slice(&[1f32, 2.0, 3.0]).set_requires_grad(true);
        (&x * &x).sum(Kind::Float).backward();
        assert_eq!(Vec::<f32>::try_from(x.grad()).unwrap(), [2.0, 4.0, 6.0]);
    }
}
