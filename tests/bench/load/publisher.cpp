#include "load/publisher.hpp"

#include <charconv>
#include <stdexcept>

namespace realtime::bench {

namespace {

// Bytes of the body of an answer that has this head.
std::size_t bodyBytes(std::string_view head)
{
    constexpr std::string_view Name = "\r\nContent-Length: ";
    const std::size_t at = head.find(Name);
    std::size_t bytes = 0;
    if (at != std::string_view::npos) {
        std::from_chars(head.data() + at + Name.size(), head.data() + head.size(), bytes);
    }
    return bytes;
}

} // namespace

std::string Publisher::postRequest(std::string_view path, std::string_view body)
{
    std::string request = "POST ";
    request += path;
    request += " HTTP/1.1\r\nHost: bench\r\nContent-Length: ";
    request += std::to_string(body.size());
    request += "\r\n\r\n";
    request += body;
    return request;
}

void Publisher::get(std::string_view path)
{
    request("GET " + std::string(path) + " HTTP/1.1\r\nHost: bench\r\n\r\n");
}

void Publisher::request(std::string_view bytes)
{
    waiting_ = true;
    send(bytes);
}

void Publisher::received(std::span<char> bytes)
{
    answer_.append(bytes.data(), bytes.size());
    const std::size_t end = answer_.find("\r\n\r\n");
    if (end == std::string::npos) {
        return;
    }
    const std::size_t size = end + 4 + bodyBytes(std::string_view(answer_).substr(0, end));
    if (answer_.size() < size) {
        return;
    }
    constexpr std::size_t StatusAt = 9; // behind "HTTP/1.1 "
    std::from_chars(answer_.data() + StatusAt, answer_.data() + StatusAt + 3, status_);
    if (!waiting_ || answer_.size() > size || status_ < 200 || status_ > 299) {
        throw std::runtime_error("unexpected answer: " + answer_.substr(0, end));
    }
    waiting_ = false;
    answer_.clear();
    answered();
}

std::vector<std::unique_ptr<Publisher>> connectPublishers(Loop& loop, std::uint16_t port, std::size_t count)
{
    std::vector<std::unique_ptr<Publisher>> publishers;
    for (std::size_t i = 0; i < count; i++) {
        publishers.push_back(std::make_unique<Publisher>(loop, port));
    }
    return publishers;
}

} // namespace realtime::bench
