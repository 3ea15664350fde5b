// Placeholder of the room until the host comes in its own commit.
#include "mcp/tool_host.hpp"
