// A feed as the server's thread holds it: its pipes, and what it must give back.
#pragma once

#include <memory>
#include <vector>

#include "ingest/client_handle.h"
#include "ingest/hub.h"
#include "ingest/pipe.h"

namespace ke::ingest {

class feed_impl final : public feed {
  public:
    static result<std::unique_ptr<feed>> open(std::shared_ptr<client_core>, feed_spec);
    ~feed_impl() override;

    chunk* take() noexcept override;
    void give_back(chunk*) noexcept override;
    bool exhausted() const noexcept override;
    bool ready() const noexcept override;
    bool at_end() const noexcept override;

  private:
    struct part {
        std::shared_ptr<pipe> piped;
        std::vector<topic_partition> claims;
        reader* at = nullptr; // of the core
    };

    void wake_stalled() noexcept;

    std::shared_ptr<client_core> core_;
    std::shared_ptr<feed_gauge> gauge_;
    std::vector<part> parts_;
    std::size_t first_ = 0; // whose turn it is
};

} // namespace ke::ingest
