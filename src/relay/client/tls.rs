//! What we trust and what we show: the TLS side of the settings, read from files.

use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::LinkSettings;

/// Reads the files; the text of an error names the one that is wrong.
pub(super) fn configure(settings: &LinkSettings) -> Result<ClientConfig, String> {
    let roots = match &settings.ca_file {
        Some(file) => roots_of(file)?,
        None => roots_of_the_system()?,
    };
    // Two providers can be compiled in by accident, and the implicit choice panics then: name it.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("cannot set up TLS: {error}"))?
        .with_root_certificates(roots);
    let mut config = match (&settings.client_cert_file, &settings.client_key_file) {
        (None, None) => builder.with_no_client_auth(),
        (Some(cert_file), Some(key_file)) => {
            let chain = certificates(cert_file)?;
            let key = PrivateKeyDer::from_pem_file(key_file).map_err(|error| {
                format!("cannot read the client key {}: {error}", key_file.display())
            })?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                format!(
                    "cannot use the client certificate {}: {error}",
                    cert_file.display()
                )
            })?
        }
        (Some(file), None) => {
            return Err(format!(
                "got client_cert_file {} without client_key_file",
                file.display()
            ));
        }
        (None, Some(file)) => {
            return Err(format!(
                "got client_key_file {} without client_cert_file",
                file.display()
            ));
        }
    };
    // Load balancers that prefer HTTP/2 have no WebSocket there.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn roots_of(file: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| {
            format!("cannot trust a certificate of {}: {error}", file.display())
        })?;
    }
    Ok(roots)
}

fn roots_of_the_system() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = match found.errors.first() {
            Some(error) => error.to_string(),
            None => "install ca-certificates or set ca_file".to_owned(),
        };
        return Err(format!("cannot find the system's root certificates: {why}"));
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(file).and_then(|certificates| certificates.collect());
    match read {
        Ok(certificates) if certificates.is_empty() => Err(format!(
            "got no certificate in {} when expecting PEM",
            file.display()
        )),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!(
            "cannot read the certificates in {}: {error}",
            file.display()
        )),
    }
}
