// Zoneless, and compiled in the browser, so that esbuild is all that is needed; an application of `ng new` uses the service
// in the same way.
import '@angular/compiler';
import { Component, inject, provideZonelessChangeDetection } from '@angular/core';
import { bootstrapApplication } from '@angular/platform-browser';
import { RealtimeService } from './realtime.service.js';

@Component({
  selector: '#app',
  template: `
    <main [attr.data-state]="realtime.state()">
      <button (click)="order()">Order</button>
      <ul>@for (one of orders(); track one.id) { <li>{{ one.data.text }}</li> }</ul>
    </main>`,
})
class Orders {
  readonly realtime = inject(RealtimeService);
  readonly orders = this.realtime.channel<{ text: string }>('orders');

  order() {
    void this.realtime.publish('orders', 'created', { text: 'from Angular' });
  }
}

await bootstrapApplication(Orders, { providers: [provideZonelessChangeDetection()] });
