//! CASSI instruments: masks, dispersion, exact operators and detectors.
