//! config
pub mod codes;
mod decode;
mod env;
mod places;
mod raw;
pub mod report;
pub mod source;
mod yaml;
