//! SQLCipher's cryptography from the RustCrypto crates, so that no device needs OpenSSL.
//!
//! SQLCipher is compiled with `-DSQLCIPHER_CRYPTO_CUSTOM=feldakte_sqlcipher_setup` (`.cargo/config.toml`) and asks
//! that function once per process for its provider. Files are those of every other SQLCipher 4: AES-256-CBC pages
//! with HMAC-SHA512. A panic never leaves this file: it becomes an error code.
#![allow(unsafe_code, reason = "the one place that speaks C: SQLCipher's provider interface and sqlite3_key")]

use std::{
    ffi::{c_char, c_int, c_uchar, c_void},
    hint,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr, slice,
};

use aes::{
    Aes256,
    cipher::{BlockDecryptMut, BlockEncryptMut, KeyIvInit, consts::U16, inout::InOutBuf},
};
use hmac::{Hmac, Mac, digest::KeyInit};
use libsqlite3_sys::{SQLITE_ERROR, SQLITE_OK};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use sqlx::sqlite::LockedSqliteHandle;
use zeroize::Zeroizing;

use crate::key::DatabaseKey;

/// SQLite did not take the key; the number is its result code.
#[derive(Debug, thiserror::Error)]
#[error("the cipher did not take the key (code {0})")]
pub(super) struct KeyRefused(c_int);

/// Makes sure that [`feldakte_sqlcipher_setup`] is part of the binary, which only C code calls.
pub(super) fn link() {
    hint::black_box(feldakte_sqlcipher_setup as unsafe extern "C" fn(*mut Provider) -> c_int);
}

/// Gives the connection its raw key. Unlike `PRAGMA key` this leaves no copy of the key in SQL text, logs or the
/// driver's channels; SQLCipher keeps its own copy masked.
pub(super) fn set_key(connection: &mut LockedSqliteHandle<'_>, key: &DatabaseKey) -> Result<(), KeyRefused> {
    let text = raw_key_text(key);
    let len = c_int::try_from(text.len()).expect("a key is 67 bytes of text");
    // SAFETY: the handle is open and locked by us for the whole call; `text` outlives it and SQLCipher copies it.
    let code = unsafe {
        libsqlite3_sys::sqlite3_key(connection.as_raw_handle().as_ptr(), text.as_ptr().cast::<c_void>(), len)
    };
    if code == SQLITE_OK { Ok(()) } else { Err(KeyRefused(code)) }
}

/// `x'…'`: SQLCipher takes 32 bytes in this form as the key itself, without a key derivation of 300 ms.
fn raw_key_text(key: &DatabaseKey) -> Zeroizing<Vec<u8>> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    // The capacity is exact, so that no reallocation leaves a copy behind.
    let mut text = Zeroizing::new(Vec::with_capacity(3 + 2 * DatabaseKey::LEN));
    text.extend_from_slice(b"x'");
    for byte in key.as_bytes() {
        text.push(DIGITS[usize::from(byte >> 4)]);
        text.push(DIGITS[usize::from(byte & 15)]);
    }
    text.push(b'\'');
    text
}

const KEY_LEN: c_int = 32;
const BLOCK_LEN: c_int = 16;
const ENCRYPT: c_int = 1;
const HMAC_SHA1: c_int = 0;
const HMAC_SHA256: c_int = 1;
const HMAC_SHA512: c_int = 2;

/// `struct sqlcipher_provider` of the bundled SQLCipher 4.10, field by field.
#[repr(C)]
pub(crate) struct Provider {
    init: Option<extern "C" fn() -> c_int>,
    shutdown: Option<extern "C" fn()>,
    get_provider_name: extern "C" fn(*mut c_void) -> *const c_char,
    add_random: extern "C" fn(*mut c_void, *const c_void, c_int) -> c_int,
    random: unsafe extern "C" fn(*mut c_void, *mut c_void, c_int) -> c_int,
    hmac: HmacFn,
    kdf: KdfFn,
    cipher: CipherFn,
    get_cipher: extern "C" fn(*mut c_void) -> *const c_char,
    get_key_sz: extern "C" fn(*mut c_void) -> c_int,
    get_iv_sz: extern "C" fn(*mut c_void) -> c_int,
    get_block_sz: extern "C" fn(*mut c_void) -> c_int,
    get_hmac_sz: extern "C" fn(*mut c_void, c_int) -> c_int,
    ctx_init: extern "C" fn(*mut *mut c_void) -> c_int,
    ctx_free: extern "C" fn(*mut *mut c_void) -> c_int,
    fips_status: extern "C" fn(*mut c_void) -> c_int,
    get_provider_version: extern "C" fn(*mut c_void) -> *const c_char,
    next: *mut Provider,
}

/// Context, algorithm, key, two inputs, output.
type HmacFn = unsafe extern "C" fn(
    *mut c_void,
    c_int,
    *const c_uchar,
    c_int,
    *const c_uchar,
    c_int,
    *const c_uchar,
    c_int,
    *mut c_uchar,
) -> c_int;

/// Context, algorithm, passphrase, salt, rounds, length of the key, key.
type KdfFn = unsafe extern "C" fn(
    *mut c_void,
    c_int,
    *const c_uchar,
    c_int,
    *const c_uchar,
    c_int,
    c_int,
    c_int,
    *mut c_uchar,
) -> c_int;

/// Context, mode, key, initialisation vector, input, output.
type CipherFn = unsafe extern "C" fn(
    *mut c_void,
    c_int,
    *const c_uchar,
    c_int,
    *const c_uchar,
    *const c_uchar,
    c_int,
    *mut c_uchar,
) -> c_int;

/// Called by SQLCipher when it initialises, with memory for one provider.
///
/// # Safety
/// `provider` points to writable memory of one [`Provider`], or is null.
#[unsafe(no_mangle)]
unsafe extern "C" fn feldakte_sqlcipher_setup(provider: *mut Provider) -> c_int {
    if provider.is_null() {
        return SQLITE_ERROR;
    }
    let ours = Provider {
        init: None,
        shutdown: None,
        get_provider_name,
        add_random,
        random,
        hmac,
        kdf,
        cipher,
        get_cipher,
        get_key_sz,
        get_iv_sz: get_block_sz,
        get_block_sz,
        get_hmac_sz,
        ctx_init: no_context,
        ctx_free: no_context,
        fips_status,
        get_provider_version,
        next: ptr::null_mut(),
    };
    // SAFETY: not null, and by the caller's contract writable memory of this size; `write` drops nothing old.
    unsafe { provider.write(ours) };
    SQLITE_OK
}

unsafe extern "C" fn random(_: *mut c_void, buffer: *mut c_void, len: c_int) -> c_int {
    guarded(|| {
        // SAFETY: SQLCipher passes a buffer of `len` bytes that nobody else uses during the call.
        let buffer = unsafe { output(buffer.cast(), len) }?;
        getrandom::fill(buffer).ok()
    })
}

unsafe extern "C" fn hmac(
    _: *mut c_void,
    algorithm: c_int,
    key: *const c_uchar,
    key_len: c_int,
    first: *const c_uchar,
    first_len: c_int,
    second: *const c_uchar,
    second_len: c_int,
    tag: *mut c_uchar,
) -> c_int {
    guarded(|| {
        // SAFETY: SQLCipher passes inputs of these lengths and room for a tag of this algorithm, which do not
        // overlap and stay in place during the call.
        let (key, first, second, tag) = unsafe {
            let tag = output(tag, hmac_len(algorithm)?)?;
            (input(key, key_len)?, input(first, first_len)?, input(second, second_len)?, tag)
        };
        match algorithm {
            HMAC_SHA1 => authenticate::<Hmac<Sha1>>(key, first, second, tag),
            HMAC_SHA256 => authenticate::<Hmac<Sha256>>(key, first, second, tag),
            HMAC_SHA512 => authenticate::<Hmac<Sha512>>(key, first, second, tag),
            _ => None,
        }
    })
}

fn authenticate<M: Mac + KeyInit>(key: &[u8], first: &[u8], second: &[u8], tag: &mut [u8]) -> Option<()> {
    let mut mac = <M as Mac>::new_from_slice(key).ok()?;
    mac.update(first);
    mac.update(second);
    tag.copy_from_slice(&mac.finalize().into_bytes());
    Some(())
}

unsafe extern "C" fn kdf(
    _: *mut c_void,
    algorithm: c_int,
    passphrase: *const c_uchar,
    passphrase_len: c_int,
    salt: *const c_uchar,
    salt_len: c_int,
    rounds: c_int,
    key_len: c_int,
    key: *mut c_uchar,
) -> c_int {
    guarded(|| {
        let rounds = u32::try_from(rounds).ok()?;
        // SAFETY: SQLCipher passes inputs of these lengths and room for a key of `key_len`, which do not overlap
        // and stay in place during the call.
        let (passphrase, salt, key) =
            unsafe { (input(passphrase, passphrase_len)?, input(salt, salt_len)?, output(key, key_len)?) };
        match algorithm {
            HMAC_SHA1 => pbkdf2::pbkdf2_hmac::<Sha1>(passphrase, salt, rounds, key),
            HMAC_SHA256 => pbkdf2::pbkdf2_hmac::<Sha256>(passphrase, salt, rounds, key),
            HMAC_SHA512 => pbkdf2::pbkdf2_hmac::<Sha512>(passphrase, salt, rounds, key),
            _ => return None,
        }
        Some(())
    })
}

unsafe extern "C" fn cipher(
    _: *mut c_void,
    mode: c_int,
    key: *const c_uchar,
    key_len: c_int,
    iv: *const c_uchar,
    from: *const c_uchar,
    len: c_int,
    to: *mut c_uchar,
) -> c_int {
    guarded(|| {
        if from.is_null() || to.is_null() || key_len != KEY_LEN {
            return None;
        }
        // SAFETY: SQLCipher passes a key and a vector of the lengths we told it, and two buffers of `len` bytes.
        // The buffers may be one and the same: they are copied as memory first, and only `to` becomes a slice.
        let (key, iv, page) = unsafe {
            ptr::copy(from, to, usize::try_from(len).ok()?);
            (input(key, KEY_LEN)?, input(iv, BLOCK_LEN)?, output(to, len)?)
        };
        let (blocks, rest) = InOutBuf::from(page).into_chunks::<U16>();
        if !rest.is_empty() {
            return None;
        }
        match mode {
            ENCRYPT => cbc::Encryptor::<Aes256>::new_from_slices(key, iv).ok()?.encrypt_blocks_inout_mut(blocks),
            _ => cbc::Decryptor::<Aes256>::new_from_slices(key, iv).ok()?.decrypt_blocks_inout_mut(blocks),
        }
        Some(())
    })
}

/// Runs what may fail or panic and answers as C expects.
fn guarded(work: impl FnOnce() -> Option<()>) -> c_int {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Some(())) => SQLITE_OK,
        Ok(None) | Err(_) => SQLITE_ERROR,
    }
}

/// An input of `len` bytes; `None` for a length without a pointer.
///
/// # Safety
/// `from`, when not null, points to `len` bytes that nobody writes for the lifetime of the result.
unsafe fn input<'a>(from: *const c_uchar, len: c_int) -> Option<&'a [u8]> {
    match usize::try_from(len).ok()? {
        0 => Some(&[]),
        _ if from.is_null() => None,
        // SAFETY: not null, and by the caller's contract valid for `len` bytes.
        len => Some(unsafe { slice::from_raw_parts(from, len) }),
    }
}

/// An output of `len` bytes; `None` for a length without a pointer.
///
/// # Safety
/// `to`, when not null, points to `len` bytes that nobody else reads or writes for the lifetime of the result.
unsafe fn output<'a>(to: *mut c_uchar, len: c_int) -> Option<&'a mut [u8]> {
    match usize::try_from(len).ok()? {
        0 => Some(&mut []),
        _ if to.is_null() => None,
        // SAFETY: not null, and by the caller's contract valid and ours for `len` bytes.
        len => Some(unsafe { slice::from_raw_parts_mut(to, len) }),
    }
}

fn hmac_len(algorithm: c_int) -> Option<c_int> {
    match algorithm {
        HMAC_SHA1 => Some(20),
        HMAC_SHA256 => Some(32),
        HMAC_SHA512 => Some(64),
        _ => None,
    }
}

extern "C" fn get_hmac_sz(_: *mut c_void, algorithm: c_int) -> c_int {
    hmac_len(algorithm).unwrap_or(0)
}

extern "C" fn get_key_sz(_: *mut c_void) -> c_int {
    KEY_LEN
}

extern "C" fn get_block_sz(_: *mut c_void) -> c_int {
    BLOCK_LEN
}

extern "C" fn get_provider_name(_: *mut c_void) -> *const c_char {
    c"rustcrypto".as_ptr()
}

extern "C" fn get_provider_version(_: *mut c_void) -> *const c_char {
    c"aes 0.8, sha2 0.10".as_ptr()
}

extern "C" fn get_cipher(_: *mut c_void) -> *const c_char {
    c"AES-256-CBC".as_ptr()
}

/// Entropy comes from the operating system alone.
extern "C" fn add_random(_: *mut c_void, _: *const c_void, _: c_int) -> c_int {
    SQLITE_OK
}

/// The functions above keep no state between calls.
extern "C" fn no_context(_: *mut *mut c_void) -> c_int {
    SQLITE_OK
}

extern "C" fn fips_status(_: *mut c_void) -> c_int {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider() -> Provider {
        let mut provider = std::mem::MaybeUninit::uninit();
        // SAFETY: room for one provider, which the call fills before it is read.
        unsafe {
            assert_eq!(feldakte_sqlcipher_setup(provider.as_mut_ptr()), SQLITE_OK);
            provider.assume_init()
        }
    }

    fn tag(algorithm: c_int) -> Vec<u8> {
        let (key, first, second) = (b"Jefe", b"what do ya want ", b"for nothing?");
        let mut tag = vec![0; hmac_len(algorithm).unwrap() as usize];
        // SAFETY: pointers and lengths belong together.
        let code = unsafe {
            (provider().hmac)(
                ptr::null_mut(),
                algorithm,
                key.as_ptr(),
                4,
                first.as_ptr(),
                16,
                second.as_ptr(),
                12,
                tag.as_mut_ptr(),
            )
        };
        assert_eq!(code, SQLITE_OK);
        tag
    }

    #[test]
    fn hmac_matches_rfc_4231_and_2202() {
        assert_eq!(tag(HMAC_SHA1)[..4], [0xef, 0xfc, 0xdf, 0x6a]);
        assert_eq!(tag(HMAC_SHA256)[..4], [0x5b, 0xdc, 0xc1, 0x46]);
        assert_eq!(tag(HMAC_SHA512)[..4], [0x16, 0x4b, 0x7a, 0x7b]);
    }

    #[test]
    fn key_derivation_matches_rfc_6070() {
        let mut key = [0; 20];
        // SAFETY: pointers and lengths belong together.
        let code = unsafe {
            (provider().kdf)(
                ptr::null_mut(),
                HMAC_SHA1,
                b"password".as_ptr(),
                8,
                b"salt".as_ptr(),
                4,
                2,
                20,
                key.as_mut_ptr(),
            )
        };
        assert_eq!(code, SQLITE_OK);
        assert_eq!(key[..4], [0xea, 0x6c, 0x01, 0x4d]);
    }

    #[test]
    fn cipher_matches_nist_sp_800_38a_in_place_and_apart() {
        let key = unhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
        let iv = unhex("000102030405060708090a0b0c0d0e0f");
        let plain = unhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51");
        let sealed = unhex("f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d");
        let run = |mode, from: *const u8, to: *mut u8, len| {
            // SAFETY: both buffers below hold 32 bytes.
            unsafe { (provider().cipher)(ptr::null_mut(), mode, key.as_ptr(), 32, iv.as_ptr(), from, len, to) }
        };
        let mut page = plain.clone();
        let start = page.as_mut_ptr();
        assert_eq!(run(ENCRYPT, start, start, 32), SQLITE_OK);
        assert_eq!(page, sealed);
        let mut opened = vec![0; 32];
        assert_eq!(run(0, sealed.as_ptr(), opened.as_mut_ptr(), 32), SQLITE_OK);
        assert_eq!(opened, plain);
        assert_eq!(run(0, sealed.as_ptr(), opened.as_mut_ptr(), 31), SQLITE_ERROR, "not whole blocks");
    }

    #[test]
    fn random_fills_the_buffer_differently_each_time() {
        let draw = || {
            let mut bytes = [0_u8; 64];
            // SAFETY: the buffer holds 64 bytes.
            let code = unsafe { (provider().random)(ptr::null_mut(), bytes.as_mut_ptr().cast(), 64) };
            assert_eq!(code, SQLITE_OK);
            bytes
        };
        let (first, second) = (draw(), draw());
        assert_ne!(first, second);
        assert_ne!(first[..32], first[32..]);
        assert_ne!(first[32..], [0; 32], "to the end");
    }

    #[test]
    fn panics_and_wild_arguments_become_error_codes() {
        assert_eq!(guarded(|| panic!("on purpose")), SQLITE_ERROR);
        // SAFETY: the pointers are null, which the functions check before anything else.
        unsafe {
            assert_eq!((provider().random)(ptr::null_mut(), ptr::null_mut(), 16), SQLITE_ERROR);
            assert_eq!((provider().random)(ptr::null_mut(), ptr::null_mut(), -1), SQLITE_ERROR);
            assert_eq!(feldakte_sqlcipher_setup(ptr::null_mut()), SQLITE_ERROR);
        }
        assert_eq!(get_hmac_sz(ptr::null_mut(), 9), 0);
    }

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }
}
