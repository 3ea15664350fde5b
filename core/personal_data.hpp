// Takes personal data out of texts that others wrote, before they are logged: a provider's error quotes what a user
// said, a user id or a path is somebody's e-mail address. By form, so it finds what has one: names of people have none.
// Pure functions.
#pragma once

#include <string>
#include <string_view>

namespace parley::core {

/// False for most texts, at little cost: then there is nothing to mask.
bool may_hold_personal_data(std::string_view text) noexcept;

/// `text` with [email 3f2a9c], [card], [iban] and [phone] in the place of e-mail addresses (the digits are of their
/// SHA-256: lines about the same person can be found), payment card numbers (13 to 19 digits whose Luhn digit is
/// right), IBANs (ISO 13616, whose check digits are right) and telephone numbers with a country code (ITU E.164, +…).
std::string mask_personal_data(std::string_view text);

} // namespace parley::core
