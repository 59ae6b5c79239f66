// The decoder of json: documents of a payload (json.cpp), and the walk through each, which
// fills the cells of its row (json_walk.cpp). The document is walked to its end whatever its use:
// UTF-8, strings, brackets and literals are judged everywhere, values only where a column wants them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <simdjson.h>

#include "decode/format.h"
#include "decode/json_batch.h"
#include "decode/json_tree.h"
#include "decode/json_values.h"

namespace ke::decode {

// A cell refused so far; its cell points to the problem. A later duplicate of the key overwrites
// it.
inline constexpr cell_state refused_cell = static_cast<cell_state>(outcome::refused);

class json_decoder final : public payload_decoder {
  public:
    json_decoder(const payload_request& request, json_options options);

    void expect(std::span<const bytes> payloads) override { batch_.expect(payloads); }
    bool decode(bytes payload, rows& out, arena& memory, problem& why) override;

  private:
    static constexpr int most_depth = 1000;               // of brackets
    static constexpr std::size_t kept_size = 1024 * 1024; // buffers beyond go back to the heap

    bool decode_expected(bytes payload, bool& good);
    bool decode_text(std::string_view text);
    bool decode_objects(std::string_view text);
    bool decode_more_objects(std::string_view text);
    bool decode_array(std::string_view text);
    bool decode_scalar(std::string_view text);

    template <class Document>
    bool object_row(Document& document, const char* start);
    bool element_row(simdjson::ondemand::value& element);
    void begin_row();
    bool end_row();

    bool walk(simdjson::ondemand::value& value, json_node* node, int depth);
    [[gnu::always_inline]] bool walk_here(simdjson::ondemand::value& value, json_node* node,
                                          int depth);
    bool walk_container(simdjson::ondemand::value& value, const char* start, json_node* node,
                        int depth);
    bool walk_object(simdjson::ondemand::object& object, json_node* node, int depth);
    bool walk_array(simdjson::ondemand::array& array, json_node* node, int depth);
    bool walk_key(const char* key, simdjson::ondemand::value& value, json_node* node,
                  json_node::place& last, json_node*& branch);
    [[gnu::always_inline]] bool walk_scalar(simdjson::ondemand::value& value,
                                            std::string_view token, json_node* node);
    bool judge_string(std::string_view quoted, bool& plain);
    bool judge_escapes(std::string_view quoted);
    bool judge_literal(std::string_view token);

    void fill(const json_node& node, std::string_view value, bool plain);
    bool fill_usual(int column, std::string_view value, bool plain);
    void keep_refusal(int column);
    void forget(const json_node& node);

    void make_room(std::size_t size);
    bool fail(const char* detail);
    bool fail(simdjson::error_code error);

    std::vector<int> columns_;
    struct target {
        type_desc type;
        cell_type usual = cell_type::other; // the type where it alone says what fill_usual() may do
    };
    std::vector<target> targets_; // by the plan's index; of columns_
    bool sole_document_;
    json_node root_;
    json_values values_;

    json_batch batch_;
    simdjson::ondemand::parser parser_;
    std::unique_ptr<char[]> buffer_; // the payload with the padding that simdjson wants
    std::size_t room_ = 0;
    std::string key_;    // a name with escapes, undone
    std::string string_; // a string with escapes, undone to be judged

    // While decode() runs.
    rows* out_ = nullptr;
    problem* why_ = nullptr;
    const char* text_end_ = nullptr;
    rows::row row_{};
    int refusals_ = 0; // cells of the row ever refused
};

} // namespace ke::decode
