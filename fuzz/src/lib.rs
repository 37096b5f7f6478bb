//! What holds for every input, however damaged: what the fuzz targets look at.

pub mod check;
pub mod format;
