// The newest schema of a registry's subject, for encoders, and the frame that names it. Session's thread.
#pragma once

#include <memory>
#include <string>

#include "decode/encoder.h"
#include "registry/client.h"

namespace ke::decode {

class subject_schema {
  public:
    // asks: whether a registry is wanted at all.
    subject_schema(const encode_request& r, bool asks)
        : registry_(asks ? r.schemas : nullptr), name_(r.subject),
          id_bytes_(r.options.get("schema_id_bytes", "4") == "8" ? 8 : 4)
    {
    }

    bool asks() const { return registry_ != nullptr; }

    // As payload_encoder::prepare.
    bool prepare(const std::weak_ptr<registry::listener>& who,
                 std::shared_ptr<const fault>& trouble)
    {
        if (!registry_ || found_.what)
            return true;
        found_ = registry_->find(registry::schema_key::latest_of(name_), who);
        trouble = found_.trouble;
        return found_.at != registry::lookup::state::coming;
    }

    // Null: the registry has none.
    const registry::schema* what() const { return found_.what.get(); }
    fault missing() const
    {
        return bad_value("the schema registry does not have subject \"" + name_ + "\"", found_.why);
    }

    // A zero byte, the number; empty without a registry.
    std::string frame() const
    {
        std::string out;
        for (int i = id_bytes_; registry_ && i >= 0; i--)
            out += i == id_bytes_
                       ? '\0'
                       : static_cast<char>(static_cast<std::uint64_t>(found_.what->id) >> (8 * i));
        return out;
    }

  private:
    const std::shared_ptr<registry::client> registry_;
    const std::string name_;
    const int id_bytes_;
    registry::lookup found_;
};

} // namespace ke::decode
