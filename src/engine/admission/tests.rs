//! Properties of admission.
