//! Reads arbitrary bytes as a state file and builds its state: nothing may panic or run away.
#![no_main]

use foredeck::document::{Options, read};
use foredeck::schema::{Flavor, Schemas};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let options = Options { lint: true, ..Options::default() };
    let _ = read(&["-".into()], &mut &*bytes, options).build(&Schemas::bundled(Flavor::Kong314));
});
