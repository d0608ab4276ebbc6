// An HTTP client on one keep-alive connection, one request at a time.
#pragma once

#include "load/loop.hpp"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace realtime::bench {

class Publisher : public Socket {
public:
    Publisher(Loop& loop, std::uint16_t port, unsigned source = 0) : Socket(loop, port, source) {}

    static std::string postRequest(std::string_view path, std::string_view body);

    void post(std::string_view path, std::string_view body) { request(postRequest(path, body)); }
    void get(std::string_view path);
    void request(std::string_view bytes); // a whole one

    bool idle() const { return !waiting_; } // the last request was answered
    int status() const { return status_; }  // of the last answer

protected:
    void received(std::span<char> bytes) override;
    virtual void answered() {} // idle() again; may request the next

private:
    bool waiting_ = false;
    int status_ = 0;
    std::string answer_; // as far as it is here
};

std::vector<std::unique_ptr<Publisher>> connectPublishers(Loop& loop, std::uint16_t port, std::size_t count);

} // namespace realtime::bench
