//! restub-loader
