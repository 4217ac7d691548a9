//! The product model that is built in, against the one that is published.

use std::fs;
use std::path::Path;

use crate::e2e::stack::Stack;

#[test]
fn the_embedded_model_is_the_published_one() {
    let python = Stack::find().python.expect("the testbed has a python with ctao-datamodel");
    let product = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/product");
    let output = std::process::Command::new(python).arg("-B").arg(product.join("generate_model.py")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let embedded = fs::read_to_string(product.join("model-1.4.tsv")).unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), embedded);
}
