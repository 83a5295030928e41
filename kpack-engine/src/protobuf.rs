//! Decodes the protobuf bodies that unmodified clients insist on sending.
