//! No cryptography at all: in an emulator nobody listens. It keeps C and assembler of the crypto libraries out of the build.

use std::time::{Duration, Instant};

use str0m::crypto::dtls::{
    DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, KeyingMaterial,
    ProtocolVersion, SrtpProfile,
};
use str0m::crypto::{
    AeadAes128GcmCipher, AeadAes256GcmCipher, Aes128CmSha1_80Cipher, CryptoError, CryptoProvider,
    Sha1HmacProvider, Sha1Provider, Sha256Provider, SrtpProvider, SupportedAeadAes128Gcm,
    SupportedAeadAes256Gcm, SupportedAes128CmSha1_80,
};

pub fn provider() -> CryptoProvider {
    CryptoProvider {
        srtp_provider: &Plain,
        sha1_hmac_provider: &Plain,
        sha1_provider: &Plain,
        sha256_provider: &Plain,
        dtls_provider: &Plain,
    }
}

#[derive(Debug)]
struct Plain;

impl SrtpProvider for Plain {
    fn aes_128_cm_sha1_80(&self) -> &'static dyn SupportedAes128CmSha1_80 {
        &Plain
    }

    fn aead_aes_128_gcm(&self) -> &'static dyn SupportedAeadAes128Gcm {
        &Plain
    }

    fn aead_aes_256_gcm(&self) -> &'static dyn SupportedAeadAes256Gcm {
        &Plain
    }

    fn srtp_aes_128_ecb_round(&self, _key: &[u8], input: &[u8], output: &mut [u8]) {
        output[..input.len()].copy_from_slice(input);
    }

    fn srtp_aes_256_ecb_round(&self, _key: &[u8], input: &[u8], output: &mut [u8]) {
        output[..input.len()].copy_from_slice(input);
    }
}

impl SupportedAes128CmSha1_80 for Plain {
    fn create_cipher(&self, _key: [u8; 16], _encrypt: bool) -> Box<dyn Aes128CmSha1_80Cipher> {
        Box::new(Plain)
    }
}

impl SupportedAeadAes128Gcm for Plain {
    fn create_cipher(&self, _key: [u8; 16], _encrypt: bool) -> Box<dyn AeadAes128GcmCipher> {
        Box::new(Plain)
    }
}

impl SupportedAeadAes256Gcm for Plain {
    fn create_cipher(&self, _key: [u8; 32], _encrypt: bool) -> Box<dyn AeadAes256GcmCipher> {
        Box::new(Plain)
    }
}

impl Aes128CmSha1_80Cipher for Plain {
    fn encrypt(
        &mut self,
        _iv: &[u8; 16],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), CryptoError> {
        output[..input.len()].copy_from_slice(input);
        Ok(())
    }

    fn decrypt(
        &mut self,
        _iv: &[u8; 16],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), CryptoError> {
        output[..input.len()].copy_from_slice(input);
        Ok(())
    }
}

impl AeadAes128GcmCipher for Plain {
    fn encrypt(
        &mut self,
        _iv: &[u8; 12],
        _aad: &[u8],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), CryptoError> {
        output[..input.len()].copy_from_slice(input);
        Ok(())
    }

    fn decrypt(
        &mut self,
        _iv: &[u8; 12],
        _aads: &[&[u8]],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptoError> {
        let bytes = input.len().saturating_sub(TAG);
        output[..bytes].copy_from_slice(&input[..bytes]);
        Ok(bytes)
    }
}

impl AeadAes256GcmCipher for Plain {
    fn encrypt(
        &mut self,
        iv: &[u8; 12],
        aad: &[u8],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), CryptoError> {
        AeadAes128GcmCipher::encrypt(self, iv, aad, input, output)
    }

    fn decrypt(
        &mut self,
        iv: &[u8; 12],
        aads: &[&[u8]],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptoError> {
        AeadAes128GcmCipher::decrypt(self, iv, aads, input, output)
    }
}

impl Sha1HmacProvider for Plain {
    fn sha1_hmac(&self, _key: &[u8], _payloads: &[&[u8]]) -> [u8; 20] {
        [1; 20]
    }
}

impl Sha1Provider for Plain {
    fn sha1(&self, _data: &[u8]) -> [u8; 20] {
        [1; 20]
    }
}

impl Sha256Provider for Plain {
    fn sha256(&self, _data: &[u8]) -> [u8; 32] {
        [1; 32]
    }
}

impl DtlsProvider for Plain {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        Some(DtlsCert {
            certificate: CERTIFICATE.to_vec(),
            private_key: Vec::new(),
        })
    }

    fn new_dtls(
        &self,
        _cert: &DtlsCert,
        now: Instant,
        _version: DtlsVersion,
        _mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        Ok(Box::new(Agreed {
            is_active: None,
            told: 0,
            now,
        }))
    }
}

/// Both ends agreed before they began.
#[derive(Debug)]
struct Agreed {
    is_active: Option<bool>,
    told: u8,
    now: Instant,
}

impl DtlsInstance for Agreed {
    fn set_active(&mut self, active: bool) {
        self.is_active = Some(active);
    }

    fn handle_packet(&mut self, _packet: &[u8]) -> Result<(), DtlsImplError> {
        Ok(())
    }

    fn poll_output<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        if self.is_active.is_none() || self.told == 3 {
            return DtlsOutput::Timeout(self.now + Duration::from_secs(3600));
        }
        self.told += 1;
        match self.told {
            1 => {
                buf[..CERTIFICATE.len()].copy_from_slice(CERTIFICATE);
                DtlsOutput::PeerCert(&buf[..CERTIFICATE.len()])
            }
            2 => DtlsOutput::KeyingMaterial(
                KeyingMaterial::new(&[1; KEYS]),
                SrtpProfile::AEAD_AES_128_GCM,
            ),
            _ => DtlsOutput::Connected,
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.now = now;
        Ok(())
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        Ok(data.len())
    }

    fn is_active(&self) -> bool {
        self.is_active == Some(true)
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        None
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        Ok(())
    }
}

const CERTIFICATE: &[u8] = b"nobody";
const TAG: usize = 16;

/// Two keys of 16 and two salts of 12 bytes (RFC 7714, section 12).
const KEYS: usize = 2 * (16 + 12);
