#include "decode/framing.h"

#include "base/no_backend.h"

namespace ke::decode {

void schema_frame::look_at(const record& r)
{
    constexpr std::size_t guid_bytes = 16;
    guid_ = more_ = {};
    for (const header& h : r.headers)
        if (h.name == header_ && h.value.size >= guid_bytes + 1 && h.value.data[0] == 1) {
            guid_ = {h.value.data + 1, guid_bytes};
            more_ = {guid_.data + guid_bytes, h.value.size - guid_bytes - 1};
        }
}

const char* schema_frame::open(bytes payload, bytes& rest)
{
    rest = payload;
    if (!guid_.absent())
        return nullptr;
    if (payload.size < 1 + id_bytes_ || payload.data[0] != 0)
        return "The payload does not begin with a zero byte and the number of a schema.";
    std::uint64_t n = 0;
    for (std::size_t i = 1; i <= id_bytes_; i++)
        n = n << 8 | static_cast<unsigned char>(payload.data[i]);
    number_ = id_bytes_ == 4 ? static_cast<std::int32_t>(n) : static_cast<std::int64_t>(n);
    if (number_ < 0)
        return "The number of the payload's schema is negative.";
    rest = {payload.data + 1 + id_bytes_, payload.size - 1 - id_bytes_};
    return nullptr;
}

registry::schema_key schema_frame::key() const
{
    if (guid_.absent())
        return registry::schema_key::of_id(number_);
    constexpr char digits[] = "0123456789abcdef";
    std::string text;
    for (std::size_t i = 0; i < guid_.size; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            text += '-';
        const auto b = static_cast<unsigned char>(guid_.data[i]);
        text.append({digits[b >> 4], digits[b & 15]});
    }
    return registry::schema_key::of_guid(std::move(text));
}

} // namespace ke::decode
