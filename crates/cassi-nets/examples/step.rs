//! Times one training step of a network, and its kinds of layers, on random data.
use std::time::Instant;

use cassi_nets::arch::{Layout, Options, build};
use tch::{Device, Kind, Tensor, nn};

fn time(name: &str, xs: &[&Tensor], f: &dyn Fn() -> Tensor) {
    let (mut fw, mut bw) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..8 {
        let t = Instant::now();
        let y = f();
        fw = fw.min(t.elapsed().as_secs_f64());
        let g = y.ones_like();
        let loss = (y * g).sum(Kind::Float);
        let t = Instant::now();
        loss.backward();
        bw = bw.min(t.elapsed().as_secs_f64());
        for x in xs {
            x.shallow_clone().zero_grad();
        }
    }
    println!("{name:32} forward {:7.2} ms, backward {:7.2} ms", fw * 1e3, bw * 1e3);
}

fn main() {
    let arg: Vec<String> = std::env::args().collect();
    let (n, side, m): (i64, i64, i64) =
        (arg[1].parse().unwrap(), arg[2].parse().unwrap(), arg[3].parse().unwrap());
    tch::set_num_threads(2);
    let dev = (Kind::Float, Device::Cpu);
    if arg.len() > 4 {
        for (c, s) in [(28, side), (56, side / 2), (112, side / 4)] {
            println!("channels {c}, {n} x {s} x {s}");
            let x = Tensor::rand([n, s, s, c], dev).set_requires_grad(true);
            let w = Tensor::rand([n, s, s, 4 * c], dev).set_requires_grad(true);
            let up = Tensor::rand([4 * c, c], dev).set_requires_grad(true);
            let down = Tensor::rand([c, 4 * c], dev).set_requires_grad(true);
            let sq = Tensor::rand([c, c], dev).set_requires_grad(true);
            let dw = Tensor::rand([4 * c, 1, 3, 3], dev).set_requires_grad(true);
            let dws = Tensor::rand([c, 1, 3, 3], dev).set_requires_grad(true);
            let ln = Tensor::ones([c], dev).set_requires_grad(true);
            let none = None::<Tensor>;
            time("linear c->4c", &[&x, &up], &|| x.linear(&up, none.as_ref()));
            time("linear 4c->c", &[&w, &down], &|| w.linear(&down, none.as_ref()));
            time("linear c->c", &[&x, &sq], &|| x.linear(&sq, none.as_ref()));
            let pw = up.view([4 * c, c, 1, 1]);
            let _ = pw;
            time("conv1x1 c->4c", &[&x, &up], &|| {
                x.permute([0, 3, 1, 2]).conv2d(
                    &up.view([4 * c, c, 1, 1]),
                    none.as_ref(),
                    [1, 1],
                    [0, 0],
                    [1, 1],
                    1,
                )
            });
            time("dw 3x3 4c", &[&w, &dw], &|| {
                w.permute([0, 3, 1, 2])
                    .conv2d(&dw, none.as_ref(), [1, 1], [1, 1], [1, 1], 4 * c)
                    .permute([0, 2, 3, 1])
            });
            time("dw 3x3 c", &[&x, &dws], &|| {
                x.permute([0, 3, 1, 2])
                    .conv2d(&dws, none.as_ref(), [1, 1], [1, 1], [1, 1], c)
                    .permute([0, 2, 3, 1])
            });
            let wn = w.permute([0, 3, 1, 2]).contiguous().detach().set_requires_grad(true);
            time("dw 3x3 4c nchw", &[&wn, &dw], &|| {
                wn.conv2d(&dw, none.as_ref(), [1, 1], [1, 1], [1, 1], 4 * c)
            });
            time("gelu 4c", &[&w], &|| w.gelu("none"));
            time("gelu tanh 4c", &[&w], &|| w.gelu("tanh"));
            time("layer norm", &[&x, &ln], &|| x.layer_norm([c], Some(&ln), Some(&ln), 1e-5, true));
            time("add", &[&x], &|| &x + &x);
            let p = [n, s * s, c];
            time("gram", &[&x], &|| x.view(p).transpose(1, 2).bmm(&x.view(p)));
            let mix = Tensor::rand([n, c, c], dev).set_requires_grad(true);
            time("bmm mix", &[&x, &mix], &|| x.view(p).bmm(&mix.transpose(1, 2)));
            time("baddbmm mix", &[&x, &mix], &|| x.view(p).baddbmm(&x.view(p), &mix.transpose(1, 2), 1., 1.));
            let k4 = Tensor::rand([2 * c, c, 4, 4], dev).set_requires_grad(true);
            time("conv 4x4/2", &[&x, &k4], &|| {
                x.permute([0, 3, 1, 2])
                    .conv2d(&k4, none.as_ref(), [2, 2], [1, 1], [1, 1], 1)
                    .permute([0, 2, 3, 1])
            });
            let k3 = Tensor::rand([c, c, 3, 3], dev).set_requires_grad(true);
            time("conv 3x3", &[&x, &k3], &|| {
                x.permute([0, 3, 1, 2])
                    .conv2d(&k3, none.as_ref(), [1, 1], [1, 1], [1, 1], 1)
                    .permute([0, 2, 3, 1])
            });
        }
        return;
    }
    let vs = nn::VarStore::new(Device::Cpu);
    let net = build("mst-s", &Options::new(Layout::Standard), &vs.root()).unwrap();
    let x = Tensor::rand([n, 28, side, side], dev);
    let mask = Tensor::rand([m, 28, side, side + 54], dev);
    let truth = Tensor::rand([n, 28, side, side], dev);
    for i in 0..6 {
        let t = Instant::now();
        let y = net.forward(&x, Some(&mask), true);
        let f = t.elapsed();
        let loss = (y - &truth).square().mean(Kind::Float);
        loss.backward();
        for mut v in vs.trainable_variables() {
            v.zero_grad();
        }
        let total = t.elapsed().as_secs_f64();
        if i > 0 {
            println!(
                "forward {:.0} ms, all {:.0} ms, {:.2} crops/s",
                f.as_secs_f64() * 1e3,
                total * 1e3,
                n as f64 / total
            );
        }
    }
}
