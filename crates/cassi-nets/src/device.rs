//! Choosing the device, and bringing CUDA into a binary that was built against the CPU libraries.

use tch::{Cuda, Device};

use crate::NetsError;

/// Folder of the CUDA build of libtorch, or its `libtorch_cuda.so`.
pub const CUDA_LIBRARY: &str = "CASSI_TORCH_LIB";

/// The device called `cpu`, `cuda` or `cuda:INDEX`. For CUDA the library named by `CASSI_TORCH_LIB` is loaded first,
/// so call this before any other libtorch function.
///
/// # Errors
/// An unknown name, a library that does not load, or no usable GPU.
pub fn select(name: &str) -> Result<Device, NetsError> {
    let refuse = |reason: String| NetsError::Device { found: name.into(), reason };
    let index = match name {
        "cpu" => return Ok(Device::Cpu),
        "cuda" => 0,
        _ => name
            .strip_prefix("cuda:")
            .and_then(|index| index.parse().ok())
            .ok_or_else(|| refuse("expected `cpu`, `cuda` or `cuda:INDEX`".into()))?,
    };
    let loaded = load_cuda().map_err(refuse)?;
    if !Cuda::is_available() {
        return Err(refuse(match loaded {
            true => format!("the library of {CUDA_LIBRARY} is loaded, but it finds no NVIDIA driver or GPU"),
            false => format!(
                "this build carries the CPU libraries only; set {CUDA_LIBRARY} to the folder of the CUDA build of \
                 libtorch 2.11 (`python3 -c 'import torch, os; print(os.path.join(os.path.dirname(torch.__file__), \
                 \"lib\"))'`)"
            ),
        }));
    }
    let count = Cuda::device_count();
    if index >= count as usize {
        return Err(refuse(format!("this machine has {count} (counted from 0)")));
    }
    Ok(Device::Cuda(index))
}

/// Loads `libtorch_cuda.so` into this process if the environment names it; whether it did.
#[allow(unsafe_code)] // dlopen is a foreign call
fn load_cuda() -> Result<bool, String> {
    let Ok(place) = std::env::var(CUDA_LIBRARY) else { return Ok(false) };
    let mut path = std::path::PathBuf::from(&place);
    if path.is_dir() {
        path.push("libtorch_cuda.so");
    }
    let text = path.to_string_lossy().into_owned();
    let name =
        std::ffi::CString::new(text.clone()).map_err(|_| format!("{text}: a name with a zero byte"))?;
    // SAFETY: `name` is a C string that lives through the call; the handle is kept open for good, as the library
    // registers itself with libtorch when it is loaded.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    if !handle.is_null() {
        return Ok(true);
    }
    // SAFETY: dlerror returns null or a C string that is valid until the next dl call of this thread.
    let reason = unsafe {
        let message = libc::dlerror();
        if message.is_null() {
            "no reason given".into()
        } else {
            std::ffi::CStr::from_ptr(message).to_string_lossy()
        }
    };
    Err(format!("{text} (from {CUDA_LIBRARY}) cannot be loaded: {reason}"))
}

/// Keeps the C library from handing large blocks back to the system between steps: a training asks for the same
/// sizes again and again, and fetching fresh pages each time costs more than the arithmetic of small layers.
#[allow(unsafe_code)] // mallopt is a foreign call
pub fn pin_allocator() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt takes two integers and only changes how later allocations are served.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 30);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        libc::mallopt(libc::M_TOP_PAD, 256 << 20);
    }
}

/// Keeps OpenBLAS, where this process carries it, to the thread that calls it.
///
/// A program that also links OpenBLAS runs libtorch's matrix products in there, and its own threads know nothing of
/// libtorch's: beside workers that fill the cores already they wait in a loop for work, at more than half the time.
#[allow(unsafe_code)] // dlsym and what it finds are foreign calls
pub fn single_threaded_blas() {
    #[cfg(target_os = "linux")]
    // SAFETY: dlsym takes a C string and only looks up; the function of that name has taken one int and returned
    // nothing in every OpenBLAS.
    unsafe {
        let found = libc::dlsym(libc::RTLD_DEFAULT, c"openblas_set_num_threads".as_ptr());
        if !found.is_null() {
            let set_threads: unsafe extern "C" fn(libc::c_int) = std::mem::transmute(found);
            set_threads(1);
        }
    }
}

/// Ends the helper threads that OpenMP keeps for the thread that calls; it gets new ones when it next asks for them.
///
/// They only wait, but GNU's OpenMP counts them, and once it has more threads than the machine has cores it puts all of
/// them to sleep at every barrier in the place of a short wait. The worker of a network with batch normalisation has
/// barriers in every layer and ran at half its speed after the first validation, which had left such a thread behind.
#[allow(unsafe_code)] // dlsym and what it finds are foreign calls
pub fn end_helper_threads() {
    #[cfg(target_os = "linux")]
    // SAFETY: dlsym takes a C string and only looks up. OpenMP 5.0 says that the function of that name takes an
    // `omp_pause_resource_t` (1: soft), an int in every implementation, and returns an int; outside a parallel region,
    // where Rust code always is, it may be called at any time.
    unsafe {
        let found = libc::dlsym(libc::RTLD_DEFAULT, c"omp_pause_resource_all".as_ptr());
        if !found.is_null() {
            let pause: unsafe extern "C" fn(libc::c_int) -> libc::c_int = std::mem::transmute(found);
            pause(1);
        }
    }
}
