//! Comparing what is with what should be, and putting the changes in order. Pure.
