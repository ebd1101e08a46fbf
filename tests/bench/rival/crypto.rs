//! str0m's cryptography out of what rovercast is built with: rtc's DTLS, and ring. str0m's own would bring 30 crates and a C library.
//!
//! One version and one profile, those that Chromium and rovercast agree on: DTLS 1.2, and AES-128-GCM for SRTP.

use std::collections::VecDeque;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use ring::digest;
use rtc::crypto::{
    self, AeadAlgorithm, AeadCipher, BlockCipherAlgorithm, HmacAlgorithm, RTCCryptoProvider,
    SignatureScheme,
};
use rtc::dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc::dtls::crypto::Certificate;
use rtc::dtls::endpoint::{Endpoint, EndpointEvent};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::shared::TransportProtocol;
use str0m::crypto::dtls::{
    DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, KeyingMaterial,
    ProtocolVersion, SrtpProfile,
};
use str0m::crypto::{
    AeadAes128GcmCipher, AeadAes256GcmCipher, Aes128CmSha1_80Cipher, CryptoError, CryptoProvider,
    Sha1HmacProvider, Sha1Provider, Sha256Provider, SrtpProvider, SupportedAeadAes128Gcm,
    SupportedAeadAes256Gcm, SupportedAes128CmSha1_80,
};

pub(super) fn provider() -> CryptoProvider {
    CryptoProvider {
        srtp_provider: &Ring,
        sha1_hmac_provider: &Ring,
        sha1_provider: &Ring,
        sha256_provider: &Ring,
        dtls_provider: &Ring,
    }
}

#[derive(Debug)]
struct Ring;

fn primitives() -> Arc<dyn RTCCryptoProvider> {
    crypto::default_provider().expect("ring is built in")
}

fn hash<const N: usize>(algorithm: &'static digest::Algorithm, data: &[u8]) -> [u8; N] {
    let hashed = digest::digest(algorithm, data);
    hashed.as_ref().try_into().expect("a hash has its length")
}

impl Sha256Provider for Ring {
    fn sha256(&self, data: &[u8]) -> [u8; 32] {
        hash(&digest::SHA256, data)
    }
}

impl Sha1Provider for Ring {
    fn sha1(&self, data: &[u8]) -> [u8; 20] {
        hash(&digest::SHA1_FOR_LEGACY_USE_ONLY, data)
    }
}

impl Sha1HmacProvider for Ring {
    fn sha1_hmac(&self, key: &[u8], payloads: &[&[u8]]) -> [u8; 20] {
        let mut tag = [0; 20];
        let mut mac = primitives()
            .crypto()
            .new_hmac(HmacAlgorithm::Sha1, key)
            .expect("ring has it");
        mac.sign(payloads, &mut tag).expect("20 bytes are SHA-1's");
        tag
    }
}

fn encrypt_block(algorithm: BlockCipherAlgorithm, key: &[u8], input: &[u8], output: &mut [u8]) {
    // The buffer has room for padding.
    let output = &mut output[..input.len()];
    output.copy_from_slice(input);
    primitives()
        .crypto()
        .block_encrypt(algorithm, key, output)
        .expect("one block and its key");
}

impl SrtpProvider for Ring {
    fn aes_128_cm_sha1_80(&self) -> &'static dyn SupportedAes128CmSha1_80 {
        &Ring
    }

    fn aead_aes_128_gcm(&self) -> &'static dyn SupportedAeadAes128Gcm {
        &Ring
    }

    fn aead_aes_256_gcm(&self) -> &'static dyn SupportedAeadAes256Gcm {
        &Ring
    }

    fn srtp_aes_128_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        encrypt_block(BlockCipherAlgorithm::Aes128, key, input, output);
    }

    fn srtp_aes_256_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        encrypt_block(BlockCipherAlgorithm::Aes256, key, input, output);
    }
}

impl SupportedAes128CmSha1_80 for Ring {
    fn create_cipher(&self, _key: [u8; 16], _encrypt: bool) -> Box<dyn Aes128CmSha1_80Cipher> {
        unreachable!("DTLS agrees on AES-128-GCM only")
    }
}

impl SupportedAeadAes256Gcm for Ring {
    fn create_cipher(&self, _key: [u8; 32], _encrypt: bool) -> Box<dyn AeadAes256GcmCipher> {
        unreachable!("DTLS agrees on AES-128-GCM only")
    }
}

impl SupportedAeadAes128Gcm for Ring {
    fn create_cipher(&self, key: [u8; 16], _encrypt: bool) -> Box<dyn AeadAes128GcmCipher> {
        let cipher = primitives()
            .crypto()
            .new_aead(AeadAlgorithm::Aes128Gcm, &key);
        Box::new(Gcm(Mutex::new(cipher.expect("ring has it"))))
    }
}

/// str0m wants to share its ciphers between threads.
struct Gcm(Mutex<Box<dyn AeadCipher>>);

impl Gcm {
    fn cipher(&mut self) -> &mut dyn AeadCipher {
        &mut **self.0.get_mut().expect("nobody panics with it")
    }
}

impl fmt::Debug for Gcm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gcm")
    }
}

impl AeadAes128GcmCipher for Gcm {
    fn encrypt(
        &mut self,
        iv: &[u8; 12],
        aad: &[u8],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), CryptoError> {
        let (sealed, tag) = output.split_at_mut(input.len());
        sealed.copy_from_slice(input);
        self.cipher()
            .seal_in_place(iv, aad, sealed, &mut tag[..TAG])
            .map_err(other)
    }

    fn decrypt(
        &mut self,
        iv: &[u8; 12],
        aads: &[&[u8]],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptoError> {
        let Some(bytes) = input.len().checked_sub(TAG) else {
            return Err(other("shorter than its tag"));
        };
        let (sealed, tag) = input.split_at(bytes);
        output[..bytes].copy_from_slice(sealed);
        self.cipher()
            .open_in_place(iv, &aads.concat(), &mut output[..bytes], tag)
            .map_err(other)?;
        Ok(bytes)
    }
}

fn other(error: impl fmt::Display) -> CryptoError {
    CryptoError::Other(error.to_string())
}

impl DtlsProvider for Ring {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        let names = vec!["str0m".to_owned()];
        let made = Certificate::generate_self_signed(names, primitives().crypto()).ok()?;
        let key = made.private_key.signing_key.to_pkcs8_der().ok()??;
        Some(DtlsCert {
            certificate: made.certificate.first()?.to_vec(),
            private_key: key.as_ref().to_vec(),
        })
    }

    fn new_dtls(
        &self,
        cert: &DtlsCert,
        now: Instant,
        _version: DtlsVersion,
        _mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let primitives = primitives();
        let key = primitives
            .crypto()
            .import_signing_key(SignatureScheme::EcdsaP256Sha256, &cert.private_key)
            .map_err(other)?;
        let certificate = Certificate::from_signing_key(vec![cert.certificate.clone().into()], key);
        let config = ConfigBuilder::default()
            .with_crypto_provider(primitives)
            .with_certificates(vec![certificate])
            .with_srtp_protection_profiles(vec![SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm])
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            // str0m compares the certificate with the fingerprint of the answer.
            .with_insecure_skip_verify(true)
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .build(false, None)
            .map_err(other)?;
        Ok(Box::new(Server {
            association: Mutex::new(Association::new(Arc::new(config))),
            now,
        }))
    }
}

/// The passive side of DTLS, which whoever offers has with a browser.
struct Server {
    association: Mutex<Association>,
    now: Instant,
}

struct Association {
    endpoint: Endpoint,
    /// Told once the handshake is complete, in this order.
    events: VecDeque<Told>,
}

enum Told {
    Certificate(Vec<u8>),
    Keys(KeyingMaterial),
    Connected,
    Closed,
}

impl Association {
    fn new(config: Arc<HandshakeConfig>) -> Self {
        Self {
            endpoint: Endpoint::new(browser(), TransportProtocol::UDP, Some(config)),
            events: VecDeque::new(),
        }
    }

    fn complete(&mut self) -> Result<(), String> {
        let state = self.endpoint.get_connection_state(browser());
        let state = state.ok_or("no association after its handshake")?;
        let certificate = state.peer_certificates.first().ok_or("no certificate")?;
        let keys = state
            .export_keying_material(EXPORTER, &[], KEYS)
            .map_err(|error| error.to_string())?;
        self.events.extend([
            Told::Certificate(certificate.clone()),
            Told::Keys(KeyingMaterial::new(keys.as_ref())),
            Told::Connected,
        ]);
        Ok(())
    }
}

impl Server {
    fn association(&mut self) -> &mut Association {
        self.association.get_mut().expect("nobody panics with it")
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Server")
    }
}

impl DtlsInstance for Server {
    fn set_active(&mut self, active: bool) {
        assert!(!active, "browsers are the active side");
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        if packet.is_empty() {
            return Ok(());
        }
        let now = self.now;
        let association = self.association();
        let read = association
            .endpoint
            .read(now, browser(), None, BytesMut::from(packet));
        // A datagram that means nothing is ignored (RFC 6347, section 4.1.2.7).
        for event in read.unwrap_or_default() {
            match event {
                EndpointEvent::HandshakeComplete => association
                    .complete()
                    .expect("a handshake leaves certificate and keys"),
                EndpointEvent::PeerClosed => association.events.push_back(Told::Closed),
                EndpointEvent::ApplicationData(_) | _ => {}
            }
        }
        Ok(())
    }

    fn poll_output<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        let now = self.now;
        let association = self.association();
        let mut hand_over = |bytes: &[u8]| {
            buf[..bytes.len()].copy_from_slice(bytes);
            bytes.len()
        };
        if let Some(transmit) = association.endpoint.poll_transmit() {
            let bytes = hand_over(&transmit.message);
            return DtlsOutput::Packet(&buf[..bytes]);
        }
        match association.events.pop_front() {
            Some(Told::Certificate(certificate)) => {
                let bytes = hand_over(&certificate);
                DtlsOutput::PeerCert(&buf[..bytes])
            }
            Some(Told::Keys(keys)) => {
                DtlsOutput::KeyingMaterial(keys, SrtpProfile::AEAD_AES_128_GCM)
            }
            Some(Told::Connected) => DtlsOutput::Connected,
            Some(Told::Closed) => DtlsOutput::CloseNotify,
            None => {
                let timeout = association.endpoint.poll_timeout(&browser());
                DtlsOutput::Timeout(timeout.unwrap_or(now + NOTHING_TO_DO))
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.now = now;
        // Before the first packet there is no association, and no timer of it.
        let _ = self.association().endpoint.handle_timeout(browser(), now);
        Ok(())
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        // Data channels are what it would be for.
        Ok(data.len())
    }

    fn is_active(&self) -> bool {
        false
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        None
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        let now = self.now;
        let _ = self.association().endpoint.close(now);
        Ok(())
    }
}

/// ICE knows who it is; here it is a name for the one association.
fn browser() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 1))
}

/// RFC 5764, section 4.2.
const EXPORTER: &str = "EXTRACTOR-dtls_srtp";

/// Two keys of 16 and two salts of 12 bytes (RFC 7714, section 12).
const KEYS: usize = 2 * (16 + 12);

const TAG: usize = 16;

const NOTHING_TO_DO: Duration = Duration::from_secs(3600);
