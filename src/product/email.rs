//! E-mail addresses as the model takes them: the plain form of RFC 5322, at a name that exists on the Internet.

/// Top-level names reserved for special use: nobody can be written to there.
const RESERVED: &[&str] = &["arpa", "invalid", "local", "localhost", "onion", "test"];

/// The address with its display name removed and its domain in lower case, internationalised names decoded.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn normalise(text: &str) -> Result<String, String> {
    let text = text.trim();
    let address = match text.strip_suffix('>').and_then(|text| text.split_once('<')) {
        Some((_, address)) => address.trim(),
        None => text,
    };
    let Some((local, domain)) = address.rsplit_once('@') else {
        return Err("not an e-mail address: no '@'".to_owned());
    };
    if local.starts_with('"') {
        return Err("not an e-mail address: a quoted name before the '@' is not allowed".to_owned());
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    if local.is_empty()
        || local.len() > 64
        || !local.split('.').all(|part| !part.is_empty() && part.chars().all(allowed))
    {
        return Err(format!("not an e-mail address: {local:?} cannot stand before the '@'"));
    }
    let domain = self::domain(domain)?;
    if local.len() + 1 + domain.len() > 254 {
        return Err("not an e-mail address: longer than 254 characters".to_owned());
    }
    Ok(format!("{local}@{domain}"))
}

fn domain(domain: &str) -> Result<String, String> {
    if domain.starts_with('[') {
        return Err("not an e-mail address: a name is needed after the '@', not an IP address".to_owned());
    }
    let domain = domain.to_ascii_lowercase();
    let labels: Vec<&str> = domain.split('.').collect();
    if labels.len() < 2 {
        return Err(format!("not an e-mail address: {domain:?} has no period"));
    }
    let valid = |label: &&str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '-';
        // two hyphens in third place announce an encoding, and only one is known
        let encoded = label.get(2..4) == Some("--");
        (1..=63).contains(&label.len())
            && label.chars().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
            && (!encoded || label.starts_with("xn--"))
    };
    if domain.len() > 253 || !labels.iter().all(valid) {
        return Err(format!("not an e-mail address: {domain:?} is not the name of a host"));
    }
    let top = labels.last().copied().unwrap_or_default();
    if RESERVED.contains(&top) || !top.ends_with(|c: char| c.is_ascii_alphabetic()) && !top.starts_with("xn--") {
        return Err(format!("not an e-mail address: nobody can be reached at a name ending in {top:?}"));
    }
    let (decoded, result) = idna::domain_to_unicode(&domain);
    result.map_err(|_| format!("not an e-mail address: {domain:?} is not a valid internationalised name"))?;
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_normalised() {
        assert_eq!(normalise("DPPS@CTAO.ORG").as_deref(), Ok("DPPS@ctao.org"));
        assert_eq!(normalise("CTAO DPPS <dpps@ctao.org>").as_deref(), Ok("dpps@ctao.org"));
        assert_eq!(normalise("a+b@ctao.org").as_deref(), Ok("a+b@ctao.org"));
        assert_eq!(normalise("a@xn--bcher-kva.example").as_deref(), Ok("a@b\u{fc}cher.example"));
    }

    #[test]
    fn what_nobody_can_write_to_is_refused() {
        let refused = [
            "dpps",
            "a@localhost",
            "a@[127.0.0.1]",
            "\"a b\"@ctao.org",
            "a@b.test",
            "a@b_c.org",
            "a@-b.org",
            "a@b..org",
            ".a@ctao.org",
            "a..b@ctao.org",
            "@ctao.org",
            "a@b.123",
            "a b@ctao.org",
            "a@ctao.org.",
            "",
        ];
        for address in refused {
            assert!(normalise(address).is_err(), "{address}");
        }
    }
}
