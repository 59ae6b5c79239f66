// Decimal numbers of any length to binary ones.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace ke::decode {

// [-]digits[.digits][e[+-]digits] as magnitude (big-endian, no zeros in front) times ten to the minus scale.
// False: it is none, or longer than any real use.
bool read_decimal(std::string_view text, std::string& magnitude, bool& negative,
                  std::int64_t& scale);

// The same at a scale of the caller's, in two's complement as short as can be. False: digits would be
// lost, or there are more of them than precision says (0: any).
bool read_unscaled(std::string_view text, std::int64_t scale, std::int64_t precision,
                   std::string& twos_complement);

// Whether both are the same number: 1.50 and 15e-1.
bool same_decimal(std::string_view a, std::string_view b);

} // namespace ke::decode
