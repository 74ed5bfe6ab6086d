"""What plugs into a Chainer Trainer and Chainer does not ship."""
