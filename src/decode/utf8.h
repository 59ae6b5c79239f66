// UTF-8, and the ways to write bytes as text.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace ke::decode {

// As the server judges it: shortest forms only, no surrogates, nothing beyond U+10FFFF.
bool is_utf8(std::string_view text);

// Whether the server can hold the bytes as text: UTF-8 and no NUL.
bool is_text(std::string_view bytes);

// Characters of a valid UTF-8 text.
std::size_t count_characters(std::string_view text);

// The beginning of a text, for messages: at most about 100 bytes, cut between characters.
std::string_view excerpt(std::string_view text);

// Appends a code point.
void append_utf8(std::string& out, char32_t code);

void append_base64(std::string& out, std::string_view bytes);
// Appends the bytes; as the server's decode(text, 'base64') takes it (white space is skipped, the
// end padded). False: not base64.
bool decode_base64(std::string_view text, std::string& out);

void append_hex(std::string& out, std::string_view bytes);
// With or without \x in front. False: not hex.
bool decode_hex(std::string_view text, std::string& out);

// Appends a text (UTF-8) as a JSON string with its quotes; bytes that are not UTF-8 become U+FFFD.
void append_json_string(std::string& out, std::string_view text);

} // namespace ke::decode
