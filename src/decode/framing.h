// What serializers with a schema registry put before a payload, or into a header beside it, and what a
// format has made of the schema that it names. For formats that need the schema; lane's thread, or a
// session's for kafka.decode.
//
//   00 | number of the schema, 4 bytes (some registries: 8), big-endian | payload
//   header __value_schema_id or __key_schema_id: 01 | GUID, 16 bytes [| more]; the payload bare
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "decode/format.h"
#include "registry/client.h"

namespace ke::decode {

// Options of every format that takes frames.
inline constexpr format_option schema_id_option = {
    "schema_id_bytes", "4, 8", "how long the schema's number in the frame is (4)"};

class schema_frame {
  public:
    explicit schema_frame(const given_options& given)
        : header_(given.of_key ? "__key_schema_id" : "__value_schema_id"),
          id_bytes_(given.get("schema_id_bytes", "4") == "8" ? 8 : 4)
    {
    }

    // The record whose payload comes next.
    void look_at(const record& r);

    // null, or a sentence that says what is wrong. rest: the payload behind the frame.
    const char* open(bytes payload, bytes& rest);

    // Of what was opened last.
    bool by_number() const { return guid_.absent(); }
    std::int64_t number() const { return number_; }
    registry::schema_key key() const;
    // What stands in the header behind the GUID.
    bytes more() const { return more_; }

  private:
    const std::string_view header_;
    const std::size_t id_bytes_;
    bytes guid_, more_; // of the record; absent: its header has none
    std::int64_t number_ = 0;
};

// T: what the format makes of a schema, kept until there are very many: whoever writes messages chooses among all
// that the registry has.
template <class T>
class written_schemas {
  public:
    using maker = std::function<result<std::unique_ptr<T>>(const registry::schema&)>;

    // forget: all that get() gave is about to end. Called by prepare() and get(); must not throw.
    written_schemas(
        std::shared_ptr<registry::client> from, maker make, std::function<void()> forget = [] {})
        : from_(std::move(from)), make_(std::move(make)), forget_(std::move(forget))
    {
    }

    // Whether get() has an answer; else who is called when there may be one.
    bool prepare(const registry::schema_key& key, const std::weak_ptr<registry::listener>& who,
                 std::shared_ptr<const fault>& trouble)
    {
        if (all_.contains(key))
            return true;
        registry::lookup l = from_->find(key, who);
        trouble = std::move(l.trouble);
        if (l.at == registry::lookup::state::found)
            keep(key, *l.what);
        return l.at != registry::lookup::state::coming;
    }

    // null: why is a sentence; it holds until the next call.
    T* get(const registry::schema_key& key, std::string_view& why)
    {
        auto at = all_.find(key);
        if (at == all_.end()) {
            registry::lookup l = from_->find(key, {});
            if (l.at != registry::lookup::state::found) {
                why_ = "The registry does not have " + key.text() + ". " + l.why;
                why = why_;
                return nullptr;
            }
            at = keep(key, *l.what);
        }
        why = at->second.flaw;
        return at->second.made.get();
    }

  private:
    struct kept {
        std::unique_ptr<T> made;
        std::string flaw;
    };
    auto keep(const registry::schema_key& key, const registry::schema& s)
    {
        kept k;
        if (auto made = make_(s))
            k.made = std::move(made.value());
        else
            k.flaw =
                "The registry's " + key.text() + " cannot be used: " + made.error().message + ".";
        if (all_.size() >= most_kept || text_ + s.size() > most_text) {
            forget_();
            all_.clear();
            text_ = 0;
        }
        text_ += s.size();
        return all_.insert_or_assign(key, std::move(k)).first;
    }

    static constexpr std::size_t most_kept = 1000, most_text = 4 << 20;

    const std::shared_ptr<registry::client> from_;
    const maker make_;
    const std::function<void()> forget_;
    std::size_t text_ = 0; // of all, as the registry has it
    std::map<registry::schema_key, kept> all_;
    std::string why_;
};

} // namespace ke::decode
