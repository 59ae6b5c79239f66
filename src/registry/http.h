// One request at a time over libcurl, whose headers are included here alone. Used by a client's
// thread; a request ends by its time-out, or soon after halted becomes true.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "base/result.h"
#include "registry/settings.h"

namespace ke::registry {

struct http_answer {
    long status = 0;
    std::string body;
};

class http {
  public:
    // Once before the first of them, on a thread that is alone with it. Cheap when repeated.
    static void prepare();

    http(const settings&, const std::atomic<bool>& halted);
    ~http();
    http(const http&) = delete;
    http& operator=(const http&) = delete;

    // GET of a path (percent-encoded) below a base address. Fails where no answer came, in the
    // library's words. Throws std::bad_alloc.
    result<http_answer> get(const std::string& url, const std::string& path);

    // A part of a path, percent-encoded.
    static std::string escape(const std::string& part);

  private:
    struct parts;
    std::unique_ptr<parts> parts_;
};

} // namespace ke::registry
