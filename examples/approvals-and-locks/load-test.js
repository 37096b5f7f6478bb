import http from "k6/http";

export const options = { thresholds: { http_req_duration: ["p(99)<1000"] } };

export default function () {
  http.post("https://billing.staging.example.com/api/invoices?dry_run=true");
}
