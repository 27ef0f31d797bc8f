//! A simulated pool: a XenAPI server with its own codecs.
