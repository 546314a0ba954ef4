//! Procedural hyperspectral scenes with measured-reflectance statistics, and RGB photographs lifted to spectra.
