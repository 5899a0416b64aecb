//! What masking a value costs.

use std::hint::black_box;
use std::sync::Arc;

use bytes::BytesMut;
use claviger_mask::methods::{Form, MaskKey, Masks, Method, Type};
use claviger_model::{Labels, Secret};
use criterion::{Criterion, criterion_group, criterion_main};

fn methods(c: &mut Criterion) {
    let labels: Labels = [Arc::from("pii")].into();
    let mut group = c.benchmark_group("mask");
    for (method, value) in [
        (Method::Redact, "123-45-6789"),
        (Method::Partial { first: 0, last: 4 }, "123-45-6789"),
        (Method::Length, "123-45-6789"),
        (Method::EmailDomain, "ana.maria@bank.example"),
        (Method::Token { session: false }, "123-45-6789"),
        (Method::Ff1, "4111 1111 1111 1111"),
    ] {
        let key = MaskKey::new(&Secret::new(*b"a secret of the bench's own"), 1);
        let Some(masks) = Masks::new(vec![("pii".into(), method)], key) else { continue };
        let form = Form { kind: Type::of(25, -1), binary: false, iso_dates: true };
        let Ok(mask) = masks.mask(&labels, form, &[0; 16]) else { continue };
        let mut out = BytesMut::with_capacity(4096);
        group.bench_function(method.as_str(), |b| {
            b.iter(|| {
                out.clear();
                mask.put(black_box(Some(value.as_bytes())), &mut out)
            });
        });
    }
}

criterion_group!(benches, methods);
criterion_main!(benches);
