import realtime = require('nginx-realtime');

const rt: realtime.Realtime = realtime.connect('/app/KEY');
rt.close();
