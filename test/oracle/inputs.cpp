#include "inputs.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <iterator>

namespace ke::oracle {

namespace {

class maker {
  public:
    explicit maker(random_source& random) : random_(random) {}

    std::string valid(look kind)
    {
        switch (kind) {
        case look::boolean:
            return boolean();
        case look::integer:
            return integer();
        case look::decimal:
            return decimal();
        case look::floating:
            return floating();
        case look::words:
            return words();
        case look::date:
            return date();
        case look::time:
            return time();
        case look::timestamp:
            return timestamp();
        case look::uuid:
            return uuid();
        case look::json_number:
            return json_number();
        case look::json_document:
            return object(4);
        }
        return {};
    }

    void spoil(std::string& s, std::string_view alphabet)
    {
        for (int n = 1 + below(3); n > 0; n--) {
            const std::size_t at = static_cast<std::size_t>(below(static_cast<int>(s.size()) + 1));
            const char c =
                alphabet[static_cast<std::size_t>(below(static_cast<int>(alphabet.size())))];
            switch (below(4)) {
            case 0:
                s.insert(at, 1, c);
                break;
            case 1:
                if (at < s.size())
                    s[at] = c;
                break;
            case 2:
                if (at < s.size())
                    s.erase(at, 1);
                break;
            default:
                if (at < s.size())
                    s.insert(at, 1, s[at]);
            }
        }
    }

    std::string garbage(std::string_view alphabet)
    {
        std::string s;
        for (int n = below(12); n > 0; n--)
            s += alphabet[static_cast<std::size_t>(below(static_cast<int>(alphabet.size())))];
        return s;
    }

    int below(int n) { return static_cast<int>(random_() % static_cast<std::uint64_t>(n)); }
    bool once_in(int n) { return below(n) == 0; }

  private:
    template <std::size_t n>
    std::string one_of(const char* const (&words)[n])
    {
        return words[below(static_cast<int>(n))];
    }

    std::string digits(int n)
    {
        std::string s;
        while (n-- > 0)
            s += static_cast<char>('0' + (once_in(4) ? 0 : below(10)));
        return s;
    }

    std::string number(int value, int width)
    {
        char text[16];
        std::snprintf(text, sizeof text, "%0*d", width, value);
        return text;
    }

    std::string boolean()
    {
        static const char* const words[] = {"true", "false", "yes", "no", "on", "off",
                                            "1",    "0",     "t",   "f",  "y",  "n",
                                            "of",   "o",     "tru", "00", "10"};
        std::string s = one_of(words);
        for (char& c : s)
            if (once_in(4) && c >= 'a')
                c = static_cast<char>(c - 'a' + 'A');
        if (once_in(8))
            s.insert(0, " ");
        if (once_in(8))
            s += "\t ";
        return s;
    }

    std::string integer()
    {
        static const char* const bounds[] = {"32767",
                                             "32768",
                                             "-32768",
                                             "-32769",
                                             "2147483647",
                                             "2147483648",
                                             "-2147483648",
                                             "-2147483649",
                                             "9223372036854775807",
                                             "9223372036854775808",
                                             "-9223372036854775808",
                                             "-9223372036854775809",
                                             "0",
                                             "-0",
                                             "18446744073709551616"};
        if (once_in(4))
            return one_of(bounds);
        std::string s = once_in(3) ? "-" : once_in(20) ? "+" : "";
        s += digits(1 + below(once_in(4) ? 22 : 9));
        if (once_in(30))
            s.insert(0, " ");
        if (once_in(30))
            s += " ";
        return s;
    }

    std::string decimal()
    {
        static const char* const odd[] = {"NaN",        "Infinity", "-inf", "1e5",    "1.5e-3",
                                          ".5",         "5.",       "+.5",  "0.0",    "-0",
                                          "00000.0000", "1e400",    "nan",  "infinit"};
        if (once_in(12))
            return one_of(odd);
        std::string s = once_in(3) ? "-" : once_in(20) ? "+" : "";
        s += digits(1 + below(once_in(5) ? 270 : once_in(3) ? 45 : 8));
        if (!once_in(3))
            s += "." + digits(1 + below(once_in(5) ? 70 : 6));
        return s;
    }

    std::string floating()
    {
        char text[64];
        switch (below(5)) {
        case 0:
            std::snprintf(text, sizeof text, "%.17g", std::bit_cast<double>(random_()));
            return text;
        case 1:
            std::snprintf(text, sizeof text, "%.9g",
                          std::bit_cast<float>(static_cast<std::uint32_t>(random_())));
            return text;
        case 2:
            return decimal();
        case 3: { // near the ends of the types' ranges
            static const char* const ends[] = {"1.7976931348623157e308",
                                               "1.7976931348623159e308",
                                               "4.9e-324",
                                               "2.4e-324",
                                               "2.2250738585072011e-308",
                                               "3.4028235e38",
                                               "3.4028236e38",
                                               "1.4e-45",
                                               "0.7e-45",
                                               "1.17549429e-38",
                                               "0e999",
                                               "0.0e-999",
                                               "1e-400"};
            return one_of(ends);
        }
        default:
            return (once_in(3) ? "-" : "") + digits(1 + below(20)) + "." + digits(below(30)) +
                   (once_in(2) ? "e" + std::to_string(below(700) - 350) : "");
        }
    }

    std::string words()
    {
        static const char* const pieces[] = {
            "a", "b", " ", "\xC3\xA4", "\xE2\x82\xAC", "\\", "\"", "\xF0\x9F\x98\x80", "x", "\n"};
        std::string s;
        for (int n = below(9); n > 0; n--)
            s += one_of(pieces);
        return s;
    }

    std::string date()
    {
        const int year = once_in(3) ? below(10000) : 1900 + below(200);
        const int month = once_in(20) ? below(15) : 1 + below(12);
        const int day = once_in(10) ? below(34) : 1 + below(28);
        return number(year, 4) + "-" + number(month, 2) + "-" + number(day, 2);
    }

    std::string time()
    {
        std::string s = number(once_in(30) ? below(26) : below(24), 2) + ":" +
                        number(once_in(30) ? below(62) : below(60), 2);
        if (once_in(30))
            return s;
        s += ":" + number(once_in(30) ? 58 + below(5) : below(60), 2);
        if (once_in(2))
            s += "." + digits(once_in(20) ? below(18) : 1 + below(9));
        return s;
    }

    std::string timestamp()
    {
        static const char* const between[] = {"T", "T", "T", " ", " ", "t", "  ", "", "T "};
        static const char* const zones[] = {
            "Z",      "Z",         "Z",   "+00", "+00:00", "-05:30", "+0530",
            "+15:59", "-15:59",    "+16", "+5",  " +02",   "z",      " UTC",
            "+14:60", "+12:34:56", "-00", " BC", " PM",    "+1",     "Europe/Berlin",
            "-2359"};
        std::string s = date() + one_of(between) + time();
        if (!once_in(3))
            s += one_of(zones);
        return s;
    }

    std::string uuid()
    {
        static const char digits[] = "0123456789abcdefABCDEF";
        std::string s;
        for (int i = 0; i < 32; i++) {
            if (i % 4 == 0 && i > 0 &&
                (i == 8 || i == 12 || i == 16 || i == 20 ? !once_in(20) : once_in(60)))
                s += "-";
            s += digits[below(22)];
        }
        if (once_in(10))
            s = "{" + s + "}";
        if (once_in(10))
            s.erase(std::remove(s.begin(), s.end(), '-'), s.end());
        return s;
    }

    std::string json_number()
    {
        std::string s = once_in(3) ? "-" : "";
        std::string d = digits(1 + below(once_in(3) ? 22 : 6));
        const std::size_t first = d.find_first_not_of('0');
        s += first == std::string::npos ? "0" : d.substr(first);
        if (once_in(2))
            s += "." + (once_in(3) ? std::string(static_cast<std::size_t>(1 + below(30)), '0')
                                   : digits(1 + below(once_in(4) ? 40 : 4)));
        if (once_in(3))
            s += std::string(once_in(2) ? "e" : "E") +
                 (once_in(3)   ? "+"
                  : once_in(2) ? "-"
                               : "") +
                 std::to_string(below(once_in(10) ? 400 : 12));
        return s;
    }

    std::string json_string()
    {
        static const char* const pieces[] = {"a",       "b",        "c",
                                             " ",       "\\n",      "\\\"",
                                             "\\u0061", "\\u0000",  "\\ud83d\\ude00",
                                             "\\ud800", "\xC3\xA4", "\\\\",
                                             "\\/",     "{",        "]",
                                             ",",       ":"};
        std::string s = "\"";
        for (int n = below(4); n > 0; n--)
            s += one_of(pieces);
        return s + "\"";
    }

    std::string blank() { return once_in(4) ? std::string(once_in(2) ? " " : "\n\t") : ""; }

    std::string json_value(int depth)
    {
        static const char* const literals[] = {"true", "false", "null", "0", "-1", "2.50"};
        switch (below(depth > 0 ? 6 : 3)) {
        case 0:
            return json_number();
        case 1:
            return one_of(literals);
        case 2:
            return json_string();
        case 3: {
            std::string s = "[" + blank();
            for (int n = below(4), i = 0; i < n; i++)
                s += (i ? "," : "") + blank() + json_value(depth - 1) + blank();
            return s + "]";
        }
        default:
            return object(depth - 1);
        }
    }

    std::string object(int depth)
    {
        static const char* const names[] = {"\"a\"", "\"b\"", "\"c\"", "\"\\u0061\"", "\"\""};
        std::string s = "{" + blank();
        for (int n = below(5), i = 0; i < n; i++)
            s += (i ? "," : "") + blank() + one_of(names) + blank() + ":" + blank() +
                 json_value(depth) + blank();
        return s + "}";
    }

    random_source& random_;
};

std::string_view alphabet_of(look kind)
{
    switch (kind) {
    case look::json_document:
        return "{}[]\",:\\ue019.- \ntruefalsnd";
    case look::words:
        return "ab \n";
    case look::boolean:
        return "truefalsynoTF10 \t";
    default:
        return "0123456789+-.eE: TZ_xXnNaAiI{}of\t/";
    }
}

} // namespace

std::string make_input(look kind, random_source& random)
{
    maker m(random);
    const int dice = m.below(10);
    if (dice == 0)
        return m.garbage(alphabet_of(kind));
    std::string s = m.valid(kind);
    if (dice <= 3)
        m.spoil(s, alphabet_of(kind));
    return s;
}

} // namespace ke::oracle
