// HTTP for tests, on libcurl.
#pragma once

#include "support/check.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace realtime::testing {

enum class HttpVersion { Http11, Http2, Http2Cleartext }; // Http2: TLS with ALPN; cleartext: prior knowledge

struct HttpRequest {
    std::string url;
    std::string method = "GET";
    std::optional<std::string> body = {};
    std::vector<std::string> headers = {}; // "Name: value"
    HttpVersion version = HttpVersion::Http11;
    std::string certificate = {}; // trusted for https
    std::string credentials = {}; // "user:password" for basic authentication
};

struct HttpResponse {
    long status = 0; // 0: no answer
    std::string body;
    std::multimap<std::string, std::string> headers; // names in lower case
    bool http2 = false;
    std::uint16_t clientPort = 0;

    std::string header(const std::string& lowerCaseName) const; // empty if absent
};

// One request, moved along by whoever waits for something: nothing happens between calls.
class HttpExchange {
public:
    explicit HttpExchange(const HttpRequest& request);
    ~HttpExchange();
    HttpExchange(const HttpExchange&) = delete;
    HttpExchange& operator=(const HttpExchange&) = delete;

    // Sends and receives what is there; waits at most so long for something to come.
    void pump(std::chrono::milliseconds atMost);
    bool headersReceived() const;
    bool done() const;
    std::string error() const; // after done(): libcurl's words, empty if all went well
    HttpResponse& response();

    // Throws if it is not done in time or has failed.
    const HttpResponse& finish(std::chrono::milliseconds patience = Patience);

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

// Requests one after the other on one kept connection (so, to one worker).
class HttpClient {
public:
    HttpClient();
    ~HttpClient();
    HttpClient(const HttpClient&) = delete;
    HttpClient& operator=(const HttpClient&) = delete;

    HttpResponse send(const HttpRequest& request);

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

// Each on a connection of its own.
HttpResponse send(const HttpRequest& request);
HttpResponse get(const std::string& url, const std::vector<std::string>& headers = {});
HttpResponse post(const std::string& url, const std::string& body,
                  const std::vector<std::string>& headers = {});

} // namespace realtime::testing
