#include "decode/json_batch.h"

#include <cstring>
#include <new>

#include "decode/json_text.h"

#include "base/no_backend.h"

namespace ke::decode {

namespace ondemand = simdjson::ondemand;

json_batch::json_batch()
{
#ifdef SIMDJSON_THREADS_ENABLED
    parser_.threaded = false; // no thread of its own
#endif
}

void json_batch::expect(std::span<const bytes> payloads)
{
    running_ = opened_ = false;
    count_ = next_ = 0;
    if (payloads.size() < 2)
        return;
    if (places_.size() < payloads.size())
        places_.resize(payloads.size());
    if (!buffer_)
        buffer_.reset(new char[most_bytes + simdjson::SIMDJSON_PADDING]);
    char* const buffer = buffer_.get();
    size_ = 0;
    int objects = 0;
    for (const bytes& payload : payloads) {
        const std::string_view text = json_document(payload.view());
        if (text.empty() || text.front() != '{' || text.size() > longest) {
            places_[count_++] = {payload, 0, 0};
            continue;
        }
        if (size_ + text.size() + 2 > most_bytes)
            break;
        buffer[size_] = size_ == 0 ? '[' : ',';
        std::memcpy(buffer + size_ + 1, text.data(), text.size());
        places_[count_++] = {payload, size_ + 1, text.size()};
        size_ += text.size() + 1;
        ++objects;
    }
    if (objects < 2)
        return;
    buffer[size_++] = ']';
    std::memset(buffer + size_, 0, simdjson::SIMDJSON_PADDING);
    running_ = open();
}

bool json_batch::open()
{
    ondemand::array array;
    const std::size_t room = size_ + simdjson::SIMDJSON_PADDING;
    if (parser_.iterate(buffer_.get(), size_, room).get(document_) ||
        document_.get_array().get(array))
        return false;
    at_ = array.begin();
    end_ = array.end();
    return at_.error() == simdjson::SUCCESS;
}

ondemand::value* json_batch::next(bytes payload, std::string_view& text)
{
    if (!running_)
        return nullptr;
    std::size_t i = next_;
    while (i < count_ &&
           (places_[i].payload.data != payload.data || places_[i].payload.size != payload.size))
        ++i;
    if (i == count_)
        return nullptr; // not one of ours
    for (; next_ <= i; ++next_) {
        if (places_[next_].size == 0)
            continue;
        if (opened_)
            ++at_;
        opened_ = true;
        const char* const start = buffer_.get() + places_[next_].start;
        // A payload that closes our array ends it before its time.
        if (!(at_ != end_) || (*at_).get(value_) || value_.raw_json_token().data() != start) {
            running_ = false;
            return nullptr;
        }
        text = {start, places_[next_].size};
    }
    return places_[i].size == 0 ? nullptr : &value_;
}

bool json_batch::ended()
{
    const place& p = places_[next_ - 1];
    const char* at;
    return !document_.current_location().get(at) && at == buffer_.get() + p.start + p.size;
}

} // namespace ke::decode
