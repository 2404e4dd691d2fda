//! Rules of the trail.
