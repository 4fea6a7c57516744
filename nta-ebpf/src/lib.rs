//! Empty library target, so that tools can name the package.

#![no_std]
