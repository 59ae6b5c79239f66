// decode/json_batch: payloads that are parsed together.
#include "check.h"
#include "decoding.h"

#include "base/no_backend.h"

using namespace ke;
using namespace ke::decode;
using namespace ke::test;

// Read together, the walk of a payload that leaves a string open gets into the next; at the end of the room
// for all there is nothing behind it.
TEST(json_no_key_is_looked_for_behind_the_payload)
{
    const std::string name(1000, 'n');
    decoding d(table({from_payload("k", type_of(cell_type::text)),
                      from_payload(name, type_of(cell_type::int4))}));
    const std::string known = "{\"k\":\"v\",\"" + name + "\":1}";
    const std::string open = R"({"k":"abc)", next = R"({","k":1})", empty = R"({"k":""})";
    constexpr std::size_t room = 256 * 1024;
    std::vector<std::string> payloads;
    std::size_t used = 1 + open.size() + 1 + next.size() + 1;
    for (; used + known.size() + 1 + empty.size() + 1 < room; used += known.size() + 1)
        payloads.push_back(known);
    payloads.push_back(R"({"k":")" + std::string(room - used - empty.size() - 3, 'f') + "\"}");
    payloads.push_back(open);
    payloads.push_back(next);
    std::vector<bytes> values;
    for (const std::string& p : payloads)
        values.push_back(bytes(std::string_view(p)));
    d.decoder->expect(values);
    for (std::size_t i = 0; i + 3 < payloads.size(); i++)
        CHECK_EQ(d.decode(payloads[i]), "v,1");
    d.decode(payloads[payloads.size() - 3]);
    CHECK(d.decode(payloads[payloads.size() - 2]).starts_with("!22P02"));
}
