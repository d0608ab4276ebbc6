#include "base/thread/resolver.hpp"

#include <netdb.h>

namespace realtime {

// One piece of memory, since the C library writes to it for as long as the look-up lasts.
struct Resolver::Request {
    Request(std::string name, std::uint16_t port) : host(std::move(name)), service(std::to_string(port))
    {
        hints.ai_family = AF_UNSPEC;
        hints.ai_socktype = SOCK_STREAM;
        hints.ai_flags = AI_NUMERICSERV;
        control.ar_name = host.c_str();
        control.ar_service = service.c_str();
        control.ar_request = &hints;
    }
    ~Request()
    {
        if (control.ar_result != nullptr) {
            freeaddrinfo(control.ar_result);
        }
    }
    Request(const Request&) = delete;
    Request& operator=(const Request&) = delete;

    std::string host, service;
    addrinfo hints{};
    gaicb control{};
};

Resolver::Resolver(const std::string& host, std::uint16_t port)
    : request_(std::make_unique<Request>(host, port))
{
    addrinfo numeric = request_->hints;
    numeric.ai_flags |= AI_NUMERICHOST;
    auto& control = request_->control;
    if (getaddrinfo(control.ar_name, control.ar_service, &numeric, &control.ar_result) == 0) {
        state_ = State::Done;
        return;
    }
    gaicb* list[] = {&control};
    if (const int code = getaddrinfo_a(GAI_NOWAIT, list, 1, nullptr); code != 0) {
        error_ = gai_strerror(code);
        state_ = State::Failed;
    }
}

Resolver::~Resolver()
{
    if (state_ == State::Pending && gai_cancel(&request_->control) == EAI_NOTCANCELED) {
        [[maybe_unused]] auto* const leftBehind =
            request_.release(); // NOLINT(bugprone-unused-return-value): see the header
    }
}

Resolver::State Resolver::state()
{
    if (state_ != State::Pending) {
        return state_;
    }
    const int code = gai_error(&request_->control);
    if (code == EAI_INPROGRESS) {
        return state_;
    }
    state_ = code == 0 && request_->control.ar_result != nullptr ? State::Done : State::Failed;
    if (state_ == State::Failed) {
        error_ = gai_strerror(code);
    }
    return state_;
}

const addrinfo* Resolver::addresses() const
{
    return request_->control.ar_result;
}

} // namespace realtime
