package auth

import (
	"context"
	"strings"

	"google.golang.org/grpc/metadata"
)

// Bearer is the secret in an authorization header: "Bearer SECRET"; "" if there is none.
func Bearer(header string) string {
	kind, secret, _ := strings.Cut(header, " ")
	if !strings.EqualFold(kind, "Bearer") {
		return ""
	}
	return strings.TrimSpace(secret)
}

// Authorize says whether whoever has sent a call of gRPC may do that, and when it may no more.
func (k *Keys) Authorize(ctx context.Context, a Access) (ended <-chan struct{}, err error) {
	secret := ""
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		if sent := md.Get("authorization"); len(sent) == 1 {
			secret = Bearer(sent[0])
		}
	}
	p, err := k.Authenticate(secret)
	if err != nil {
		return nil, err
	}
	return p.Ended(), p.May(a)
}
