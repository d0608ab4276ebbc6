// For a plain <script>: `realtime.connect(…)`.
import { RealtimeError, connect } from './index.js';

Object.assign(globalThis, { realtime: { connect, RealtimeError } });
