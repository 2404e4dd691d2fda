//! guard (to come)
