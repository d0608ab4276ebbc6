// Plain requests, over libcurl.
//
// Thread     a client belongs to one thread.
// Errors     UnreachableError if there is no answer.
#pragma once

#include "arguments.hpp"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace realtime::cli {

// For every command that connects.
struct Transport {
    std::vector<std::string> headers; // "Name: value"
    std::string caFile;               // empty: the system's
    bool insecure = false;            // any certificate will do
};

Transport transportOf(const Arguments& arguments);

inline constexpr Option TransportOptions[] = {
    {"header", "'NAME: VALUE'", "send this header as well; may be repeated"},
    {"ca-file", "FILE", "trust these authorities (PEM)"},
    {"insecure", nullptr, "accept any certificate"},
};

struct HttpAnswer {
    long status = 0;
    std::string body;

    bool good() const { return status >= 200 && status < 300; }
    // The words of {"error":"…"}, or the status.
    std::string problem() const;
};

class HttpClient {
public:
    explicit HttpClient(const Transport& transport);
    ~HttpClient();
    HttpClient(const HttpClient&) = delete;
    HttpClient& operator=(const HttpClient&) = delete;

    HttpAnswer get(const std::string& url);
    HttpAnswer post(const std::string& url, std::string_view body, const std::vector<std::string>& headers);

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

} // namespace realtime::cli
