//! What may be called how.

/// Longest name, in characters.
const NAME_MAX: usize = 250;
/// Longest scope, in characters.
const SCOPE_MAX: usize = 25;

/// `^/[A-Za-z0-9][/A-Za-z0-9.\-_]*$`, at most 250 characters: the name schema of CTAO's policy package.
pub(crate) fn is_name(name: &str) -> bool {
    let mut characters = name.chars();
    name.len() <= NAME_MAX
        && characters.next() == Some('/')
        && characters.next().is_some_and(|c| c.is_ascii_alphanumeric())
        && characters.all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
}

/// `^[a-zA-Z_\-.0-9]+$`, at most 25 characters.
pub(crate) fn is_scope(scope: &str) -> bool {
    (1..=SCOPE_MAX).contains(&scope.len()) && scope.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
}

/// 32 hexadecimal digits.
pub(crate) fn is_rule_id(id: &str) -> bool {
    id.len() == 32 && id.chars().all(|c| c.is_ascii_hexdigit())
}
