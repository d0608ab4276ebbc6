// What TLS to RabbitMQ needs of files: the certificates to trust, and our own with its key.
#pragma once

#include "broker/broker.hpp"

#include <memory>
#include <string>

struct ssl_ctx_st;

namespace realtime {

struct FreeTlsContext {
    void operator()(ssl_ctx_st* context) const;
};
using TlsContext = std::unique_ptr<ssl_ctx_st, FreeTlsContext>;

// Loads BrokerConfig::tlsCa (empty: the authorities that the system trusts), tlsCert and tlsKey. The context verifies its
// peer and speaks TLS 1.2 or later. Throws std::runtime_error with a sentence that only the operator can mend. Any thread.
TlsContext makeTlsContext(const BrokerConfig& config);

// The last error of OpenSSL on this thread, in words; forgets it.
std::string takeTlsError();

} // namespace realtime
