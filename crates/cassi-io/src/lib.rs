//! Reading and writing the files of snapshot spectral imaging: MAT, HDF5, NumPy, PyTorch, images.
