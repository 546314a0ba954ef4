#![no_main]

// Whatever bytes say, an array of them written as NPY and as MAT is the array that is read back.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&columns, rest)) = bytes.split_first() else { return };
    let columns = usize::from(columns % 16) + 1;
    let data: Vec<f32> = rest.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let shape = [data.len() / columns, columns];
    let data = &data[..shape[0] * columns];
    let same = |contents: cassi_io::Contents| {
        let back = contents.variables[0].to_array().expect("numbers");
        assert_eq!(back.shape(), shape);
        assert!(back.iter().zip(data).all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()));
    };
    let npy = cassi_io::npy_bytes(&shape, data);
    same(cassi_io::parse_npy(&npy).expect("our own NPY"));
    let array = cassi_io::parse_npy(&npy).expect("our own NPY").variables[0].to_array().expect("numbers");
    let mat = cassi_io::mat5_bytes(&[("x", cassi_io::MatVariable::Single(array.view()))]).expect("a small array");
    same(cassi_io::parse_mat5(&mat).expect("our own MAT"));
});
