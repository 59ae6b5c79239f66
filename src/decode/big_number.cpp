#include "decode/big_number.h"

#include <algorithm>
#include <charconv>

#include "decode/json_text.h"

#include "base/no_backend.h"

namespace ke::decode {

namespace {

constexpr std::size_t most_digits = 2000;

// Digits without a point, and how many of them stand behind it.
bool read_digits(std::string_view text, std::string& digits, bool& negative, std::int64_t& scale)
{
    negative = text.starts_with('-');
    text.remove_prefix(negative || text.starts_with('+') ? 1 : 0);
    const std::size_t e = std::min(text.find_first_of("eE"), text.size());
    std::int64_t exponent = 0;
    if (e < text.size()) {
        std::string_view power = text.substr(e + 1);
        power.remove_prefix(power.starts_with('+') ? 1 : 0);
        const auto read = std::from_chars(power.data(), power.data() + power.size(), exponent);
        if (read.ec != std::errc{} || read.ptr != power.data() + power.size() ||
            exponent > 100000 || exponent < -100000)
            return false;
    }
    const std::string_view mantissa = text.substr(0, e);
    const std::size_t point = std::min(mantissa.find('.'), mantissa.size());
    digits = mantissa.substr(0, point);
    if (point < mantissa.size())
        digits += mantissa.substr(point + 1);
    scale = static_cast<std::int64_t>(digits.size() - point) - exponent;
    return !digits.empty() && digits.size() <= most_digits &&
           std::all_of(digits.begin(), digits.end(), is_digit);
}

std::string to_binary(std::string_view digits)
{
    std::string little; // bytes, the least significant first
    for (char d : digits) {
        unsigned carry = static_cast<unsigned>(d - '0');
        for (char& c : little) {
            carry += static_cast<unsigned char>(c) * 10U;
            c = static_cast<char>(carry);
            carry >>= 8;
        }
        if (carry)
            little += static_cast<char>(carry);
    }
    return {little.rbegin(), little.rend()};
}

} // namespace

bool read_decimal(std::string_view text, std::string& magnitude, bool& negative,
                  std::int64_t& scale)
{
    std::string digits;
    if (!read_digits(text, digits, negative, scale))
        return false;
    magnitude = to_binary(digits);
    return true;
}

bool same_decimal(std::string_view a, std::string_view b)
{
    struct number {
        std::string digits; // neither begins nor ends with a zero; none: the number is zero
        bool negative;
        std::int64_t scale;

        bool read(std::string_view text)
        {
            if (!read_digits(text, digits, negative, scale))
                return false;
            digits.erase(0, digits.find_first_not_of('0'));
            for (; digits.ends_with('0'); scale--)
                digits.pop_back();
            return true;
        }
        bool operator==(const number& o) const
        {
            return digits == o.digits &&
                   (digits.empty() || (negative == o.negative && scale == o.scale));
        }
    } one, other;
    return one.read(a) && other.read(b) && one == other;
}

bool read_unscaled(std::string_view text, std::int64_t scale, std::int64_t precision,
                   std::string& out)
{
    std::string digits;
    bool negative;
    std::int64_t has;
    if (!read_digits(text, digits, negative, has))
        return false;
    for (; has > scale; has--) {
        if (digits.size() > 1 && digits.back() == '0')
            digits.pop_back();
        else if (digits != "0")
            return false;
    }
    if (digits.size() + static_cast<std::size_t>(scale - has) > most_digits)
        return false;
    digits.append(static_cast<std::size_t>(scale - has), '0');
    if (precision > 0 && digits.find_first_not_of('0') != digits.npos &&
        digits.size() - digits.find_first_not_of('0') > static_cast<std::size_t>(precision))
        return false;
    out = to_binary(digits);
    if (out.empty() || (out.front() & 0x80))
        out.insert(out.begin(), '\0');
    if (!negative || out == std::string(1, '\0'))
        return true;
    for (char& c : out)
        c = static_cast<char>(~c);
    for (std::size_t i = out.size(); i-- > 0;)
        if (++out[i] != 0)
            break;
    while (out.size() > 1 && out[0] == '\xff' && (out[1] & 0x80))
        out.erase(0, 1);
    return true;
}

} // namespace ke::decode
