//! A file on its way, as pure logic: bytes and answers in, actions out.
