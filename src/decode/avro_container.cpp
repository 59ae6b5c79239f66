#include "decode/avro_container.h"

#include <algorithm>

#include "base/no_backend.h"

namespace ke::decode {

bool avro_container::fail(std::string why)
{
    error_ = std::move(why);
    return false;
}

bool avro_container::open(std::string_view payload)
{
    error_.clear();
    reader_.open(payload);
    reader_.fail("");
    left_ = std::max(most_unpacked, most_times * payload.size());
    rows_left_ = most_rows + static_cast<std::int64_t>(payload.size());
    if (!head())
        return fail(error_.empty() ? reader_.error() : error_);
    return true;
}

bool avro_container::head()
{
    constexpr std::string_view magic("Obj\1", 4);
    std::string_view key, text, name = "null";
    if (!reader_.take(magic.size(), text) || text != magic)
        return fail("The payload is not an object container.");
    schema_ = {};
    if (!reader_.items([&](std::int64_t) {
            if (!reader_.string(key) || !reader_.string(text))
                return false;
            if (key == "avro.schema")
                schema_ = text;
            else if (key == "avro.codec")
                name = text;
            return true;
        }))
        return false;
    codec_ = name == "null" ? nullptr : find_codec(name);
    if (!codec_ && name != "null")
        return fail("The container is packed by a codec that is not known.");
    if (codec_ && !codec_->unpack)
        return fail("The container is packed by " + std::string(codec_->name) +
                    ", and this build does not have its library.");
    return reader_.take(16, mark_);
}

bool avro_container::next()
{
    std::int64_t size;
    std::string_view end;
    if (reader_.at_end())
        return false;
    if (!reader_.number(count_) || !reader_.number(size))
        return fail(reader_.error());
    if (count_ < 0 || size < 0 || static_cast<std::uint64_t>(size) > reader_.left())
        return fail("A block of the container has no valid size.");
    if (!reader_.take(static_cast<std::uint64_t>(size), packed_) || !reader_.take(16, end))
        return fail(reader_.error());
    if (end != mark_)
        return fail("A block of the container is not followed by its mark.");
    return !codec_ || unpack();
}

bool avro_container::unpack()
{
    if (count_ > rows_left_)
        return fail("The container has more rows than are taken of a payload of its size.");
    rows_left_ -= count_;
    buffer_.begin(left_);
    if (const char* wrong = codec_->unpack(packed_, buffer_))
        return fail(wrong);
    left_ = buffer_.left();
    return true;
}

void avro_container::close()
{
    constexpr std::size_t kept = 1 << 20;
    if (buffer_.memory() > kept)
        buffer_.release();
}

} // namespace ke::decode
